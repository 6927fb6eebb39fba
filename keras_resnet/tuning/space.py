"""Search spaces: dimensions as rows of data, each a field of `Recipe` or of `Spec`, around the papers' values.

This module imports neither Keras nor keras-tuner: a space can be read, narrowed and printed before a backend is chosen.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from ..models.rows import ORDERS, SHORTCUTS, SKIPS, UNITS
from ..training.recipe import SCHEDULES
from .dimensions import UNITS_PER_STAGE, Dimension, parse


def _choice(name: str, values: Iterable[Any], default: Any = None, when: Any = None) -> Dimension:
    return Dimension(name, tuple(values), default=default, when=when)


def _range(name: str, low: float, high: float, default: float, when: Any = None) -> Dimension:
    return Dimension(name, ends=(low, high), default=default, when=when)


# The predefined dimensions. Each default is the papers' value.
_SHAPE = (
    _choice(UNITS_PER_STAGE, (1, 2, 3, 5, 7, 9), 3),  # ResNet-8 to ResNet-56
    _choice("width", (0.5, 1.0, 2.0), 1.0),
    _choice("shortcut", (name for name in SHORTCUTS if name), "A"),
)
_NETWORK = (
    *_SHAPE,
    _choice("unit", (name for name in UNITS if name != "one_layer"), "basic"),
    _choice("order", ORDERS, "original"),
    _choice(
        "skip",
        SKIPS,
        "identity",
        when=("shortcut", tuple(name for name, row in SHORTCUTS.items() if row.same == "skip")),
    ),
    _choice("shortcut_scale", (0.5, 0.7, 0.9), 0.5, when=("skip", ("constant_scaling",))),
    _choice("residual_scale", (0.5, 1.0), 0.5, when=("skip", ("constant_scaling",))),
    _range("gate_bias", -8.0, 0.0, -6.0, when=("skip", ("exclusive_gating", "shortcut_only_gating"))),
    _range("skip_dropout", 0.05, 0.5, 0.5, when=("skip", ("dropout",))),
    _choice("stem", ("cifar", "imagenet"), "cifar"),
    _choice("stochastic_depth", (0.0, 0.1, 0.2), 0.0),
    # A residual that ends in a ReLU would remain zero forever.
    _choice(
        "zero_init_residual",
        (False, True),
        False,
        when=("order", tuple(order for order in ORDERS if order != "relu_before_addition")),
    ),
)
_RECIPE = (
    _range("learning_rate", 0.01, 0.4, 0.1),
    _choice("momentum", (0.8, 0.9, 0.95), 0.9),
    _range("weight_decay", 1e-5, 1e-3, 1e-4),
    _choice("batch_size", (64, 128, 256), 128),
    _choice("schedule", (name for name in SCHEDULES if name != "plateau"), "step"),
    _choice("label_smoothing", (0.0, 0.1), 0.0),
    _choice("randaugment", (0.0, 5.0), 0.0),
    _choice("mixup", (0.0, 0.2), 0.0),
)
# What differs for photographs, whose networks are chosen by name; None removes a dimension. The 2015 paper uses option
# A for 18 and 34 layers; B is the papers' choice for all other depths.
_PHOTOGRAPHS = {
    UNITS_PER_STAGE: _choice("model", ("resnet18", "resnet34", "resnet50", "resnet101"), "resnet50"),
    "shortcut": _choice("shortcut", (name for name in SHORTCUTS if name), "B"),
    "batch_size": _choice("batch_size", (128, 256, 512), 256),
    "stem": None,
    "unit": None,
}
SPACES = {"shape": _SHAPE, "network": _NETWORK, "recipe": _RECIPE, "all": (*_NETWORK, *_RECIPE)}


@dataclass(frozen=True)
class Space:
    """A search space.

    Attributes:
        dimensions: the dimensions, each after those that its condition depends on.

    Raises:
        ValueError: both "units_per_stage" and "model" are dimensions, or all dimensions are fixed.
    """

    dimensions: tuple[Dimension, ...]

    def __post_init__(self) -> None:
        names = [dimension.name for dimension in self.dimensions]
        if {UNITS_PER_STAGE, "model"} <= set(names):
            raise ValueError(f"`{UNITS_PER_STAGE}` determines the `model`; leave out one of the two.")
        if all(dimension.fixed for dimension in self.dimensions):
            raise ValueError(
                "The space is empty: every dimension is fixed or left out. "
                f"Fixed: {', '.join(names) or 'none'}; left out: all others."
            )
        parents_first = sorted(self.dimensions, key=lambda row: len(self.conditions(row)))
        object.__setattr__(self, "dimensions", tuple(parents_first))

    def __getitem__(self, name: str) -> Dimension:
        return next(dimension for dimension in self.dimensions if dimension.name == name)

    def __contains__(self, name: str) -> bool:
        return any(dimension.name == name for dimension in self.dimensions)

    def as_json(self) -> dict[str, str]:
        """Returns the dimensions by name, as text that `read_dimension` parses."""
        return {dimension.name: str(dimension) for dimension in self.dimensions}

    def default(self) -> dict[str, Any]:
        """Returns the default of each active dimension: the papers' values, where the space contains them."""
        return self.active({dimension.name: dimension.default for dimension in self.dimensions})

    def conditions(self, dimension: Dimension) -> list[tuple[str, tuple[Any, ...]]]:
        """Returns the conditions under which a dimension is active, outermost first: (parent's name, its values)."""
        return _conditions(dimension, {row.name: row for row in self.dimensions})

    def active(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Returns only the values of active dimensions: those whose conditions the other values satisfy."""
        active: dict[str, Any] = {}
        for dimension in self.dimensions:
            if dimension.active(active) and dimension.name in values:
                active[dimension.name] = values[dimension.name]
        return active


def space(
    name: str = "all",
    *,
    photographs: bool = False,
    without: Iterable[str] = (),
    changes: Mapping[str, str | Dimension] | None = None,
) -> Space:
    """Returns a predefined space or one from a file, with dimensions fixed, narrowed, added or left out.

    Args:
        name: a key of `SPACES`, or the path of a YAML, TOML or JSON file that maps dimensions to values: a number or
            string fixes a dimension, a list is a choice, "0.01..0.4" a range.
        photographs: whether the data are photographs: the networks are then ImageNet's, with larger batches.
        without: dimensions to leave out; the recipe then decides them.
        changes: new values by dimension: "3" fixes one, "1,3,5" is a choice, "0.01..0.4" a range.

    Raises:
        ValueError: the space, a dimension or a value does not exist, or nothing is left to search.
    """
    rows = {row.name: row for row in _named(name, photographs)}
    for left_out in without:
        if left_out not in rows:
            raise ValueError(f"The space has no dimension {left_out!r} to leave out. It has: {', '.join(rows)}")
        del rows[left_out]
    for changed, text in (changes or {}).items():
        row = text if isinstance(text, Dimension) else read_dimension(changed, text, rows.get(changed))
        # A dimension that is named explicitly is searched even if the dimension that it depends on is not.
        rows[changed] = replace(row, when=None) if row.when and row.when[0] not in rows else row
        if changed == "model":
            rows.pop(UNITS_PER_STAGE, None)
    return Space(tuple(_without_orphans(rows.values())))


def _named(name: str, photographs: bool) -> list[Dimension]:
    if name in SPACES:
        rows = SPACES[name]
        if photographs:
            rows = tuple(row for old in rows if (row := _PHOTOGRAPHS.get(old.name, old)) is not None)
        return list(rows)
    path = Path(name)
    readers: dict[str, Callable[[str], Any]] = {
        ".toml": tomllib.loads,
        ".json": json.loads,
        ".yaml": yaml.safe_load,
        ".yml": yaml.safe_load,
    }
    if path.suffix not in readers:
        raise ValueError(
            f"The space must be one of {', '.join(SPACES)}, or a .toml, .yaml or .json file. Received: {name!r}"
        )
    try:
        contents = readers[path.suffix](path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"The space file {name!r} does not exist.") from None
    except (tomllib.TOMLDecodeError, yaml.YAMLError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{name!r} is not a valid space: {' '.join(str(error).split())}") from error
    if not isinstance(contents, dict):
        raise ValueError(f"{name!r} is not a valid space: it must map names to values. Received: {contents!r}")
    return [read_dimension(str(key), _as_text(value)) for key, value in contents.items()]


def _as_text(value: Any) -> str:
    return ",".join(map(_as_text, value)) if isinstance(value, list) else "none" if value is None else str(value)


def read_dimension(name: str, text: str, known: Dimension | None = None) -> Dimension:
    """Parses a dimension: "3", "1,3,5" or "0.01..0.4"; its default and condition are those of the known one.

    Args:
        name: name of the dimension.
        text: its values.
        known: the dimension that it replaces; None for the predefined one of this name, if there is one.

    Raises:
        ValueError: the name is unknown or the text cannot be parsed.
    """
    known = known or next((row for row in SPACES["all"] if row.name == name), None)
    return parse(name, text, **({"default": known.default, "when": known.when} if known else {}))


def _without_orphans(rows: Iterable[Dimension]) -> list[Dimension]:
    """Leaves out dimensions that depend on values which their parent dimension does not have in this space.

    A parent that is not searched is assumed to have the papers' value, since the recipe is not known here.
    """
    by_name = {row.name: row for row in rows}
    for row in sorted(by_name.values(), key=lambda row: len(_conditions(row, by_name))):
        if row.when is not None:
            parent, accepted = row.when
            searched = by_name.get(parent)
            papers = [other.default for other in SPACES["all"] if other.name == parent]
            values = tuple(value for value in accepted if value in (searched.values if searched else papers))
            by_name[row.name] = replace(row, when=(parent, values) if searched else None)
            if not values:
                del by_name[row.name]
    return list(by_name.values())


def _conditions(row: Dimension, rows: Mapping[str, Dimension]) -> list[tuple[str, tuple[Any, ...]]]:
    if row.when is None:
        return []
    parent = rows.get(row.when[0])
    return [*(_conditions(parent, rows) if parent else []), row.when]
