"""Dimensions of a search space: fields of `Recipe` or of `Spec`, with their possible values."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..models.catalog import find
from ..models.rows import UNITS
from ..models.spec import STAGES, Spec
from ..options import check_limits, check_types, kind_of, suggestion
from ..training.recipe import Recipe

UNITS_PER_STAGE = "units_per_stage"  # of a CIFAR network; an alternative to `model`, since it determines the depth
SPEC_FIELDS = frozenset(field.name for field in fields(Spec) if "help" in field.metadata)
RECIPE_FIELDS = frozenset(field.name for field in fields(Recipe) if "help" in field.metadata)
# Fields that the search itself sets, the stages ("model" or "units_per_stage" determine them), the image size (the
# bounds are computed for one size), and lists.
NOT_SEARCHED = frozenset(
    {"dataset", "data_dir", "validation", "seed", "epochs", "iterations", "size", "drops", "scales", *STAGES}
)


def _check_name(name: str) -> None:
    known = ({UNITS_PER_STAGE} | SPEC_FIELDS | RECIPE_FIELDS) - NOT_SEARCHED
    if name not in known:
        raise ValueError(
            f"Unknown dimension {name!r}. It must be a searchable field of the recipe or of the network"
            f"{suggestion(name, sorted(known), 2)}"
        )


def _check_model(name: str) -> None:
    """Raises ValueError if the network exists with no unit; another dimension or the recipe decides on the unit."""
    for unit in UNITS:
        with contextlib.suppress(ValueError):
            find(name, unit)
            return
    find(name)


def _dataclass_of(name: str) -> type:
    """Returns the dataclass to which the field of this name belongs."""
    return Spec if name in SPEC_FIELDS else Recipe


def _kind_of(name: str) -> type:
    """Returns the type of a dimension's values, apart from None."""
    return int if name == UNITS_PER_STAGE else kind_of(_dataclass_of(name), name)


@dataclass(frozen=True)
class Dimension:
    """A dimension of a search space: a choice, a range of numbers, or a fixed value.

    Attributes:
        name: a field of `Recipe` or of `Spec`, or "units_per_stage".
        values: the values of a choice; a single one for a fixed dimension; empty for a range.
        ends: the lowest and the highest value of a range; None for a choice.
        default: the papers' value, which a grid search tries first; one that the dimension does not contain is
            replaced by the first value, or by the middle of the range (the geometric mean if it is logarithmic).
        when: a parent dimension and those of its values for which this dimension is active; None for always.

    Raises:
        ValueError: the name or a value is not accepted, or the range is not one.
    """

    name: str
    values: tuple[Any, ...] = ()
    ends: tuple[float, float] | None = None
    default: Any = None
    when: tuple[str, tuple[Any, ...]] | None = None

    def __post_init__(self) -> None:
        _check_name(self.name)
        if self.ends is None:
            if not self.values:
                raise ValueError(f"The dimension {self.name!r} has no values.")
            for value in self.values:
                self._check_value(value)
            if None in self.values and any(isinstance(value, int | float) for value in self.values):
                raise ValueError(f"The dimension {self.name!r} must not combine numbers with `none`.")
            if self.default not in self.values:
                object.__setattr__(self, "default", self.values[0])
            return
        if _kind_of(self.name) is not float:
            raise ValueError(f"The dimension {self.name!r} cannot be a range. List its values, as in {self.name}=A,B")
        low, high = self.ends
        if not low < high:
            raise ValueError(f"The range of {self.name!r} must be increasing. Received: {low!r} to {high!r}")
        for end in self.ends:
            self._check_value(end)
        if self.default is None or not low <= self.default <= high:
            middle = math.sqrt(low * high) if self.logarithmic else (low + high) / 2
            object.__setattr__(self, "default", float(f"{middle:.3g}"))

    def _check_value(self, value: Any) -> None:
        try:
            if self.name != UNITS_PER_STAGE:
                owner = _dataclass_of(self.name)
                check_types(owner, {self.name: value})
                check_limits(owner, {self.name: value})
            elif not isinstance(value, int) or value < 1:
                raise ValueError("it must be an integer of at least 1")
            if self.name == "model":
                _check_model(value)
        except ValueError as error:
            raise ValueError(f"The dimension {self.name!r} cannot be {value!r}: {error}") from error

    @property
    def fixed(self) -> bool:
        """Whether it has a single value."""
        return len(self.values) == 1

    @property
    def logarithmic(self) -> bool:
        """Whether it is a range that is searched on a logarithmic scale: 0 < low and high >= 10 * low."""
        return self.ends is not None and 0 < 10 * self.ends[0] <= self.ends[1]

    def active(self, values: Mapping[str, Any]) -> bool:
        """Returns whether it is active, given the values of the active dimensions before it."""
        return self.when is None or values.get(self.when[0]) in self.when[1]

    def grid(self, points: int) -> list[Any]:
        """Returns the values of a grid search: the default, then all others of a choice or `points` of a range."""
        if self.ends is None:
            return [self.default, *(value for value in self.values if value != self.default)]
        spread = np.geomspace if self.logarithmic else np.linspace
        others = [float(f"{value:.4g}") for value in spread(*self.ends, points)]
        return [self.default, *(value for value in others if value != self.default)]

    def __str__(self) -> str:
        """Returns its values as they are given on the command line."""
        if self.ends is not None:
            return "{:g}..{:g}".format(*self.ends)
        return ",".join("none" if value is None else str(value) for value in self.values)


def parse(name: str, text: str, **known: Any) -> Dimension:
    """Parses a dimension: "3" is a fixed value, "1,3,5" a choice, "0.01..0.4" a range.

    Args:
        name: name of the dimension.
        text: its values.
        **known: its `default` and `when`, if known.

    Raises:
        ValueError: the name is unknown or the text cannot be parsed.
    """
    _check_name(name)
    low, dots, high = text.partition("..")
    try:
        if dots:
            return Dimension(name, ends=(float(low), float(high)), **known)
        return Dimension(name, tuple(_value(name, part.strip()) for part in text.split(",") if part.strip()), **known)
    except ValueError as error:
        if str(error).startswith(("The dimension", "The range")):
            raise
        raise ValueError(
            f"{name} must read like 3 for a fixed value, 1,3,5 for a choice, 0.01..0.4 for a range. Received: {text!r}"
        ) from None


def _value(name: str, text: str) -> Any:
    if text.lower() in ("none", "true", "false"):
        return {"none": None, "true": True, "false": False}[text.lower()]
    kind = _kind_of(name)
    return text if kind is bool else kind(text)  # `Dimension` refuses text for a boolean
