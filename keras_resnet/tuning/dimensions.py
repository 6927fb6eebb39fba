"""A dimension of a search: a field of `Recipe` or of `Spec`, and what it may be."""

from __future__ import annotations

import contextlib
import difflib
import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..models.catalog import find
from ..models.rows import UNITS
from ..models.spec import STAGES, Spec
from ..options import check_types, choices_of
from ..training.recipe import Recipe

UNITS_PER_STAGE = "units_per_stage"  # of a CIFAR network; stands for a `model`, whose depth it makes
OF_SPEC = frozenset(field.name for field in fields(Spec) if "help" in field.metadata)
OF_RECIPE = frozenset(field.name for field in fields(Recipe) if "help" in field.metadata)
# What is of the search itself; what "model" and "units_per_stage" say; the size, by which bounds count; and lists.
NOT_SEARCHED = frozenset(
    {"dataset", "data_dir", "validation", "seed", "epochs", "iterations", "size", "drops", "scales", *STAGES}
)


def _check_name(name: str) -> None:
    known = ({UNITS_PER_STAGE} | OF_SPEC | OF_RECIPE) - NOT_SEARCHED
    if name not in known:
        near = difflib.get_close_matches(name, sorted(known), n=2)
        raise ValueError(
            f"There is no dimension {name!r}. It is a field of the recipe or of the network"
            + (f"; near: {', '.join(near)}" if near else "")
        )


def _check_model(name: str) -> None:
    """Refuses a network that no unit makes; which of them a candidate has, is another dimension's or the recipe's."""
    for unit in UNITS:
        with contextlib.suppress(ValueError):
            find(name, unit)
            return
    find(name)


def _type_of(name: str) -> str:
    if name == UNITS_PER_STAGE:
        return "int"
    return next(str(field.type) for row in (Recipe, Spec) for field in fields(row) if field.name == name)


@dataclass(frozen=True)
class Dimension:
    """One thing that is searched, or fixed.

    Attributes:
        name: a field of `Recipe` or of `Spec`, or "units_per_stage".
        values: what it may be, if it is a choice; one value if it is fixed.
        low, high: its ends, if it is a range of numbers, which both belong to it.
        default: the papers' value; the first that a grid search tries.
        when: another dimension and the values of it for which this one means something.
    """

    name: str
    values: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    default: Any = None
    when: tuple[str, tuple[Any, ...]] | None = None

    def __post_init__(self) -> None:
        _check_name(self.name)
        if self.low is None:
            if not self.values:
                raise ValueError(f"The dimension {self.name!r} has no values.")
            self._check_values()
            if self.default not in self.values:
                object.__setattr__(self, "default", self.values[0])
        elif "float" not in _type_of(self.name):
            raise ValueError(f"The dimension {self.name!r} has no range. Name its values, such as {self.name}=A,B")
        elif not self.low < self.high:
            raise ValueError(f"The range of {self.name!r} must rise. Received: {self.low!r} to {self.high!r}")
        elif self.default is None or not self.low <= self.default <= self.high:
            middle = math.sqrt(self.low * self.high) if self.logarithmic else (self.low + self.high) / 2
            object.__setattr__(self, "default", float(f"{middle:.3g}"))

    def _check_values(self) -> None:
        accepted = {**choices_of(Spec), **choices_of(Recipe)}.get(self.name)
        for value in self.values:
            if accepted is not None and value not in accepted:
                names = ", ".join("none" if choice is None else choice for choice in accepted)
                raise ValueError(f"The dimension {self.name!r} may be {names}. Received: {value!r}")
            try:
                if self.name != UNITS_PER_STAGE:
                    check_types(Spec if self.name in OF_SPEC else Recipe, {self.name: value})
                elif not isinstance(value, int) or value < 1:
                    raise ValueError("it counts units, from 1 on")
                if self.name == "model":
                    _check_model(value)
            except ValueError as error:
                raise ValueError(f"The dimension {self.name!r} cannot be {value!r}: {error}") from error
        if None in self.values and any(isinstance(value, int | float) for value in self.values):
            raise ValueError(f"The dimension {self.name!r} has numbers, beside which `none` cannot be searched.")

    @property
    def fixed(self) -> bool:
        """Whether it is one value."""
        return len(self.values) == 1

    @property
    def logarithmic(self) -> bool:
        """Whether its range is searched by its logarithm: where both ends are positive, and ten times apart."""
        return self.low is not None and self.low > 0 and self.high >= 10 * self.low

    def grid(self, points: int) -> list[Any]:
        """The values that a grid search tries, the default first; of a range, so many."""
        if self.low is None:
            return [self.default, *(value for value in self.values if value != self.default)]
        spread = np.geomspace if self.logarithmic else np.linspace
        others = [float(f"{value:.4g}") for value in spread(self.low, self.high, points)]
        return [self.default, *(value for value in others if value != self.default)]

    def __str__(self) -> str:
        """As it is written on the command line."""
        if self.low is not None:
            return f"{self.low:g}..{self.high:g}"
        return ",".join("none" if value is None else str(value) for value in self.values)


def read(name: str, text: str, **known: Any) -> Dimension:
    """A dimension from how it is written: "3", "1,3,5" or "0.01..0.4".

    Args:
        name: its name.
        text: how it is written.
        **known: its default and condition, if there are some.

    Raises:
        ValueError: a name or a text that means nothing.
    """
    _check_name(name)
    low, dots, high = text.partition("..")
    try:
        if dots:
            return Dimension(name, low=float(low), high=float(high), **known)
        return Dimension(name, tuple(_value(name, part.strip()) for part in text.split(",") if part.strip()), **known)
    except ValueError as error:
        if str(error).startswith(("The dimension", "The range")):
            raise
        raise ValueError(
            f"{name} reads 3 to be fixed, 1,3,5 for a choice, 0.01..0.4 for a range. Received: {text!r}"
        ) from None


def _value(name: str, text: str) -> Any:
    if text.lower() in ("none", "true", "false"):
        return {"none": None, "true": True, "false": False}[text.lower()]
    kind = _type_of(name)
    if "str" in kind:
        return text
    return int(text) if "int" in kind else float(text)
