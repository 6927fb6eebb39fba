"""Candidates of a search: their recipes and their cost, computed before anything is built."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from ..models.catalog import of_depth
from ..models.complexity import Complexity, count
from ..models.rows import SHORTCUTS, SKIPS, UNITS
from ..models.spec import STAGES
from ..training.recipe import Recipe
from ..training.recipes import stale
from .dimensions import SPEC_FIELDS, UNITS_PER_STAGE, Dimension
from .space import Space

# The dimensions that decide the cost of a candidate.
COST_DIMENSIONS = {
    *(UNITS_PER_STAGE, "model", "unit", "order", "width", "shortcut", "skip", "skip_everywhere"),
    *("stem", "downsample", "stride_on"),
}

_count = functools.lru_cache(maxsize=4096)(count)  # many candidates have the same network


def recipe_of(base: Recipe, values: Mapping[str, Any]) -> Recipe:
    """Returns the recipe of a candidate.

    Choices of the base recipe are dropped where they only follow from its own network, such as a warm-up, or where the
    values exclude them: a skip with option C, zero-initialised residuals with `relu_before_addition`.

    Args:
        base: the recipe that all candidates have in common.
        values: values of the dimensions; other names, such as keras-tuner's "tuner/epochs", are ignored.

    Raises:
        ValueError: values contradict each other, such as option A where channels would be dropped.
    """
    known = SPEC_FIELDS | {field.name for field in fields(Recipe)} | {UNITS_PER_STAGE}
    values = {name: value for name, value in values.items() if name in known}
    kept = {name: value for name, value in base.network.items() if name not in _excluded_by(values)}
    network = {**kept, **{name: value for name, value in values.items() if name in SPEC_FIELDS}}
    changes = {name: value for name, value in values.items() if name not in SPEC_FIELDS and name != UNITS_PER_STAGE}
    if UNITS_PER_STAGE in values:
        unit = network.get("unit") or base.spec.unit
        changes["model"] = of_depth(base.model, 3 * len(UNITS[unit]) * values[UNITS_PER_STAGE] + 2)
        network["unit"] = unit  # the same depth may also exist with another unit
    if "model" in changes:  # the name determines the stages
        network = {name: value for name, value in network.items() if name not in STAGES}
    changed = {name for name, value in changes.items() if value != getattr(base, name)}
    dropped = stale({**vars(base), "network": kept}, {"network": network}, changed) - {"network", *changes}
    return replace(base, **{**dict.fromkeys(dropped), **changes, "network": network})


def _excluded_by(values: Mapping[str, Any]) -> set[str]:
    """Returns the fields of `Spec` that the values of a candidate exclude."""
    excluded = set()
    if SHORTCUTS[values.get("shortcut", "A")].same != "skip":
        excluded |= {"skip", *(number for skip in SKIPS.values() for number in skip.numbers)}
    if values.get("order") == "relu_before_addition":
        excluded |= {"zero_init_residual"}
    return excluded


@dataclass(frozen=True)
class Bounds:
    """Upper bounds on the cost of a candidate. One that exceeds them is never built, and no trial is spent on it.

    Attributes:
        base: the recipe that all candidates have in common.
        classes: number of classes of the data set.
        image_shape: (height, width, channels) of its images.
        parameters: maximum number of trainable parameters; None for no limit.
        macs: maximum number of multiply-adds per image; None for no limit.
    """

    base: Recipe
    classes: int
    image_shape: tuple[int, int, int]
    parameters: int | None = None
    macs: int | None = None

    def check(self, values: Mapping[str, Any]) -> Complexity:
        """Checks that a candidate can be trained on the data set, whatever the bounds; returns its cost.

        Raises:
            ValueError: it cannot be built (option A would drop channels, or the feature maps become too small), or
                would apply RandAugment to images that are not RGB.
        """
        recipe, channels = recipe_of(self.base, values), self.image_shape[-1]
        if channels != 3 and recipe.randaugment:
            raise ValueError(
                f"`randaugment` needs images of 3 channels. Received: {channels}, in {self.base.dataset}. Choose "
                "--without randaugment."
            )
        return _count(recipe.spec, self.classes, self.image_shape)

    def admits(self, values: Mapping[str, Any]) -> bool:
        """Returns whether a candidate can be trained and is within the bounds."""
        try:
            cost = self.check(values)
        except ValueError:
            return False
        pairs = ((cost.parameters, self.parameters), (cost.macs, self.macs))
        return all(limit is None or number <= limit for number, limit in pairs)

    def __str__(self) -> str:
        limits = ((self.parameters, "parameters"), (self.macs, "multiply-adds"))
        return " and ".join(f"{limit:,} {unit}" for limit, unit in limits if limit is not None) or "no bounds"


def grid(space: Space, bounds: Bounds, points: int = 5) -> Iterator[dict[str, Any]]:
    """Yields every candidate of a space within the bounds, the papers' first; the recipe varies fastest.

    Args:
        space: the search space.
        bounds: limits on the cost of a candidate.
        points: number of values of each range, in addition to the papers' value.
    """
    rows = sorted(space.dimensions, key=lambda row: row.name not in COST_DIMENSIONS)  # stable: parents stay first
    deciding = sum(row.name in COST_DIMENSIONS for row in rows)  # the cost is known after this many dimensions

    def expand(values: dict[str, Any], remaining: list[Dimension]) -> Iterator[dict[str, Any]]:
        if not remaining:
            yield values
            return
        row, *others = remaining
        for choice in ({row.name: value} for value in row.grid(points)) if row.active(values) else ({},):
            chosen = {**values, **choice}
            # Checked once all cost dimensions have values: whatever recipe follows, the candidate costs the same.
            if (others and len(rows) - len(others) != deciding) or bounds.admits(chosen):
                yield from expand(chosen, others)

    return expand({}, rows)


def with_valid_default(space: Space, bounds: Bounds) -> Space:
    """Returns the space with the first candidate of its grid, the papers' if that is within the bounds, as its default.

    Raises:
        ValueError: no candidate can be built, or none is within the bounds.
    """
    first = next(grid(space, bounds, points=1), None)
    if first is None:
        bounds.check(space.default())  # says why, unless only the bounds exclude it
        raise ValueError(f"No candidate of the space is within the bounds: {bounds}.")
    rows = (replace(row, default=first.get(row.name, row.default)) for row in space.dimensions)
    return replace(space, dimensions=tuple(rows))
