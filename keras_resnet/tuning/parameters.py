"""Conversion between search spaces and keras-tuner's hyperparameters."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import keras_tuner

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
        hp: hyperparameters, as keras-tuner passes them to a hypermodel.

    Returns:
        The values that `hp` has for the active dimensions.
    """
    for row in space.dimensions:
        with contextlib.ExitStack() as stack:
            for parent, accepted in space.conditions(row):
                stack.enter_context(hp.conditional_scope(parent, [encoded(value) for value in accepted]))
            if row.low is not None:
                sampling = "log" if row.logarithmic else "linear"
                hp.Float(row.name, row.low, row.high, sampling=sampling, default=row.default)
            elif row.fixed:
                hp.Fixed(row.name, encoded(row.values[0]))
            else:
                values = [encoded(value) for value in row.values]
                hp.Choice(row.name, values, default=encoded(row.default))
    return space.active(decoded({row.name: hp.values[row.name] for row in space.dimensions if row.name in hp.values}))


def hyperparameters(space: Space) -> keras_tuner.HyperParameters:
    """Returns the hyperparameters of an entire space, as keras-tuner's oracles take them; builds no network."""
    hp = keras_tuner.HyperParameters()
    declare(space, hp)
    return hp
