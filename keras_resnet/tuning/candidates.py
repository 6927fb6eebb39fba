"""From the values of a trial to a recipe, and what it would cost, before anything is built."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from ..models.catalog import of_depth
from ..models.complexity import Complexity, count
from ..models.rows import SHORTCUTS, SKIPS, UNITS
from ..models.spec import STAGES, Spec
from ..training.recipe import Recipe
from ..training.recipes import stale
from .dimensions import OF_SPEC, UNITS_PER_STAGE, Dimension
from .space import Space

# The dimensions that decide what a candidate costs.
COSTS = {UNITS_PER_STAGE, "model", "unit", "order", "width", "shortcut", "skip", "skip_everywhere", "stem"}
COSTS |= {"downsample", "stride_on"}


def recipe_of(base: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe of a candidate.

    What the base says gives way where it says it only because of its own network, such as a warm-up, or where the
    values leave no room for it: a skip beside option C, residuals that start at zero beside `relu_before_addition`.

    Args:
        base: what is the same in all of them.
        values: those of the dimensions; what no row of a space is called, such as keras-tuner's own "tuner/epochs", is
            passed over.

    Raises:
        ValueError: values that contradict each other, such as option A where channels would be dropped.
    """
    known = OF_SPEC | {field.name for field in fields(Recipe)} | {UNITS_PER_STAGE}
    values = {name: value for name, value in values.items() if name in known}
    kept = {name: value for name, value in base.network.items() if name not in _crowded_out(values)}
    network = {**kept, **{name: value for name, value in values.items() if name in OF_SPEC}}
    changes = {name: value for name, value in values.items() if name not in OF_SPEC and name != UNITS_PER_STAGE}
    if UNITS_PER_STAGE in values:
        unit = network.get("unit") or base.spec.unit
        changes["model"] = of_depth(base.model, 3 * len(UNITS[unit]) * values[UNITS_PER_STAGE] + 2)
        network["unit"] = unit  # a depth alone may be that of another kind
    if "model" in changes:  # whose name says the stages
        network = {name: value for name, value in network.items() if name not in STAGES}
    changed = {name for name, value in changes.items() if value != getattr(base, name)}
    unsaid = stale({**vars(base), "network": kept}, {"network": network}, changed) - {"network", *changes}
    return replace(base, network=network, **dict.fromkeys(unsaid), **changes)


def _crowded_out(values: Mapping[str, Any]) -> set[str]:
    """The choices of a network for which the values of a candidate leave no room."""
    found = set()
    if SHORTCUTS[values.get("shortcut", "A")].same != "skip":
        found |= {"skip", *(number for skip in SKIPS.values() for number in skip.numbers)}
    if values.get("order") == "relu_before_addition":
        found |= {"zero_init_residual"}
    return found


@dataclass(frozen=True)
class Bounds:
    """What a candidate may cost; one that costs more is never built, and no trial is spent on it.

    Attributes:
        base: the recipe that all candidates have in common.
        classes: of the data set.
        image_shape: (height, width, channels) of its images.
        parameters: trainable parameters at most; None for any number.
        macs: multiply-adds of one image at most; None for any number.
    """

    base: Recipe
    classes: int
    image_shape: tuple[int, int, int]
    parameters: int | None = None
    macs: int | None = None

    def count(self, values: Mapping[str, Any]) -> Complexity:
        """What a candidate costs.

        Raises:
            ValueError: it cannot be: option A where channels would be dropped, a map too small.
        """
        return _count(recipe_of(self.base, values).spec, self.classes, self.image_shape)

    def cost(self, values: Mapping[str, Any]) -> Complexity | None:
        """The same; None if it cannot be."""
        try:
            return self.count(values)
        except ValueError:
            return None

    def admits(self, values: Mapping[str, Any]) -> bool:
        """Whether a candidate can be, and is within the bounds."""
        cost = self.cost(values)
        return (
            cost is not None
            and (self.parameters is None or cost.parameters <= self.parameters)
            and (self.macs is None or cost.macs <= self.macs)
        )

    def __str__(self) -> str:
        told = (("parameters", self.parameters), ("multiply-adds", self.macs))
        return " and ".join(f"{most:,} {what}" for what, most in told if most is not None) or "no bounds"


def grid(space: Space, bounds: Bounds, points: int = 5) -> Iterator[dict[str, Any]]:
    """Every candidate of a space within bounds, the papers' first. The recipe changes faster than the network.

    Args:
        space: what is searched.
        bounds: what a candidate may cost.
        points: of each range, beside the papers' value.
    """
    rows = sorted(space.dimensions, key=lambda row: row.name not in COSTS)  # sorting keeps parents before children
    last = sum(row.name in COSTS for row in rows)  # how many are left behind the last that costs something

    def below(values: dict[str, Any], left: list[Dimension]) -> Iterator[dict[str, Any]]:
        if not left:
            yield values
            return
        row, *others = left
        means = row.when is None or values.get(row.when[0]) in row.when[1]
        for choice in ({row.name: value} for value in row.grid(points)) if means else ({},):
            chosen = {**values, **choice}
            # What costs too much is passed over with all that differs in nothing else.
            if (others and len(rows) - len(others) != last) or bounds.admits(chosen):
                yield from below(chosen, others)

    return below({}, rows)


@functools.lru_cache(maxsize=4096)
def _count(spec: Spec, classes: int, image_shape: tuple[int, int, int]) -> Complexity:
    return count(spec, classes, image_shape)
