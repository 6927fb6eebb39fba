"""Conversion between search spaces and keras-tuner's hyperparameters."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import keras_tuner

from .dimensions import Dimension
from .space import Space

# keras-tuner's choices do not support or do not preserve these values.
_AS_TEXT = {None: "none", True: "true", False: "false"}
_FROM_TEXT = {text: value for value, text in _AS_TEXT.items()}


def encoded(value: Any) -> Any:
    """Returns a value of a dimension in a form that keras-tuner accepts."""
    return _AS_TEXT[value] if value is None or isinstance(value, bool) else value


def decoded(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of a trial as the dimensions of its space define them; reverses `encoded`."""
    return {name: _FROM_TEXT.get(value, value) if isinstance(value, str) else value for name, value in values.items()}


def declare(space: Space, hp: keras_tuner.HyperParameters) -> dict[str, Any]:
    """Declares the dimensions of a space.

    Args:
        space: the search space.
        hp: hyperparameters, as keras-tuner passes them to a hypermodel. Those that the user has registered in advance,
            to override a dimension, are left as they are. Names get the prefix of the current name scope, if any.

    Returns:
        The values that `hp` has for the active dimensions.
    """
    values: dict[str, Any] = {}
    overridden, scopes = set(), len(hp.inactive_scopes)
    for row in space.dimensions:
        if row.when is not None and hp._exists(hp._get_name(row.name)):
            # The user's has no condition. keras-tuner would register the dimension beside it, and prefer that.
            overridden.add(row.name)
            values[row.name] = hp.get(row.name)
            continue
        with contextlib.ExitStack() as stack:
            for parent, accepted in _conditions(row, space, overridden):
                stack.enter_context(hp.conditional_scope(parent, [encoded(value) for value in accepted]))
            values[row.name] = _declare(row, hp)
    # Inactive dimensions are registered too, so keras-tuner need not build a network for each condition to find them.
    del hp.inactive_scopes[scopes:]
    return space.active(decoded(values))


def _conditions(row: Dimension, space: Space, overridden: set[str]) -> list[tuple[str, tuple[Any, ...]]]:
    """Returns the conditions of a dimension, outermost first, without those of a parent that the user overrides."""
    conditions = space.conditions(row)
    first = max((place for place, (parent, _) in enumerate(conditions) if parent in overridden), default=0)
    return conditions[first:]


def _declare(row: Dimension, hp: keras_tuner.HyperParameters) -> Any:
    """Declares a dimension in the current scopes; returns its value, None if it is inactive."""
    if row.ends is not None:
        sampling = "log" if row.logarithmic else "linear"
        return hp.Float(row.name, *row.ends, sampling=sampling, default=row.default)
    if row.fixed:
        return hp.Fixed(row.name, encoded(row.values[0]))
    return hp.Choice(row.name, [encoded(value) for value in row.values], default=encoded(row.default))


def hyperparameters(space: Space) -> keras_tuner.HyperParameters:
    """Returns the hyperparameters of an entire space, as keras-tuner's oracles take them; builds no network."""
    hp = keras_tuner.HyperParameters()
    declare(space, hp)
    return hp
