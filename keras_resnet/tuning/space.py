"""What is searched: dimensions as rows of data, each a field of `Recipe` or of `Spec`, around the papers' values.

Nothing here needs Keras or keras-tuner: a space can be read, narrowed and printed before a backend is chosen.
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
from .dimensions import UNITS_PER_STAGE, Dimension, read


def _choice(name: str, values: Iterable[Any], default: Any = None, when: Any = None) -> Dimension:
    return Dimension(name, tuple(values), default=default, when=when)


def _range(name: str, low: float, high: float, default: float, when: Any = None) -> Dimension:
    return Dimension(name, low=low, high=high, default=default, when=when)


# What a search looks at unless it is told otherwise. The default of each is the papers'.
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
    # A residual that ends in a ReLU would stay zero for good.
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
# For photographs, whose networks have names. Option A is 2015's for 18 and 34; B is the papers' for all others.
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
    """All that is searched."""

    dimensions: tuple[Dimension, ...]

    def __post_init__(self) -> None:
        names = [dimension.name for dimension in self.dimensions]
        if {UNITS_PER_STAGE, "model"} <= set(names):
            raise ValueError(f"`{UNITS_PER_STAGE}` makes the `model`; leave one of the two out.")
        if all(dimension.fixed for dimension in self.dimensions):
            raise ValueError(
                "The space is empty: nothing is left to search. "
                f"Fixed: {', '.join(names) or 'nothing'}; left out: everything else."
            )
        parents_first = sorted(self.dimensions, key=lambda row: len(self.conditions(row)))
        object.__setattr__(self, "dimensions", tuple(parents_first))

    def __getitem__(self, name: str) -> Dimension:
        return next(dimension for dimension in self.dimensions if dimension.name == name)

    def __contains__(self, name: str) -> bool:
        return any(dimension.name == name for dimension in self.dimensions)

    def as_json(self) -> dict[str, str]:
        """As `space` reads it again."""
        return {dimension.name: str(dimension) for dimension in self.dimensions}

    def default(self) -> dict[str, Any]:
        """The papers' values, as far as the space holds them."""
        return self.active({dimension.name: dimension.default for dimension in self.dimensions})

    def conditions(self, dimension: Dimension) -> list[tuple[str, tuple[Any, ...]]]:
        """What must hold for a dimension to mean something: others and their values, what these depend on first."""
        return _conditions(dimension, {row.name: row for row in self.dimensions})

    def active(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values that mean something beside the others."""
        kept: dict[str, Any] = {}
        for dimension in self.dimensions:
            there = dimension.when is None or kept.get(dimension.when[0]) in dimension.when[1]
            if there and dimension.name in values:
                kept[dimension.name] = values[dimension.name]
        return kept


def space(
    name: str = "all",
    *,
    photographs: bool = False,
    without: Iterable[str] = (),
    changes: Mapping[str, str | Dimension] | None = None,
) -> Space:
    """A space by name or from a file, with some of its dimensions fixed, narrowed, added or left out.

    Args:
        name: a key of `SPACES`, or the path of a YAML, TOML or JSON file of dimensions: a number or a text for one that
            is fixed, a list for a choice, "0.01..0.4" for a range.
        photographs: whether the data are photographs, whose networks have other sizes.
        without: dimensions that are left out, so that the recipe decides.
        changes: by name, "3" to fix a dimension, "1,3,5" for a choice, "0.01..0.4" for a range.

    Raises:
        ValueError: no such space, dimension or value; nothing left to search.
    """
    rows = {row.name: row for row in _named(name, photographs)}
    for left_out in without:
        if left_out not in rows:
            raise ValueError(f"The space has no dimension {left_out!r} to leave out. It has: {', '.join(rows)}")
        del rows[left_out]
    for changed, text in (changes or {}).items():
        row = text if isinstance(text, Dimension) else read_dimension(changed, text, rows.get(changed))
        # Who names it wants it, also where the dimension that it depends on is not searched.
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
        raise ValueError(f"A space is one of {', '.join(SPACES)}, or a .toml, .yaml or .json file. Received: {name!r}")
    try:
        found = readers[path.suffix](path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"There is no space {name!r}.") from None
    except (tomllib.TOMLDecodeError, yaml.YAMLError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{name!r} is no space: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{name!r} is no space: it holds no names and values. Received: {found!r}")
    return [read_dimension(str(key), _as_text(value)) for key, value in found.items()]


def _as_text(value: Any) -> str:
    return ",".join(map(_as_text, value)) if isinstance(value, list) else "none" if value is None else str(value)


def read_dimension(name: str, text: str, known: Dimension | None = None) -> Dimension:
    """A dimension from how it is written: "3", "1,3,5" or "0.01..0.4".

    Args:
        name: its name.
        text: how it is written.
        known: the one that it replaces; its default and condition stay.

    Raises:
        ValueError: a name or a text that means nothing.
    """
    known = known or next((row for row in SPACES["all"] if row.name == name), None)
    return read(name, text, **({"default": known.default, "when": known.when} if known else {}))


def _without_orphans(rows: Iterable[Dimension]) -> list[Dimension]:
    """Leaves out what depends on values of a dimension that the space does not have.

    A dimension that is not searched has the papers' value, as far as is known here.
    """
    there = {row.name: row for row in rows}
    for row in sorted(there.values(), key=lambda row: len(_conditions(row, there))):
        if row.when is not None:
            parent, accepted = row.when
            searched = there.get(parent)
            papers = [other.default for other in SPACES["all"] if other.name == parent]
            values = tuple(value for value in accepted if value in (searched.values if searched else papers))
            there[row.name] = replace(row, when=(parent, values) if searched else None)
            if not values:
                del there[row.name]
    return list(there.values())


def _conditions(row: Dimension, rows: Mapping[str, Dimension]) -> list[tuple[str, tuple[Any, ...]]]:
    if row.when is None:
        return []
    parent = rows.get(row.when[0])
    return [*(_conditions(parent, rows) if parent else []), row.when]
