"""A network taken apart into a chain of models: the stem, the units and the head."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras

from .fast_layers import use_fast_layers
from .graph import calls, last_outputs
from .network import unit_of


class Chain(NamedTuple):
    """The parts of a network, which share its layers. Called one after another, they compute the network's output.

    Attributes:
        stem: maps images to the input of the first unit.
        units: map a feature map to the next, by the unit's name, such as "stage1_unit1".
        head: maps the last feature map to the output.
    """

    stem: keras.Model
    units: dict[str, keras.Model]
    head: keras.Model

    def maps(self, images: Any) -> Iterator[Any]:
        """Yields the output of the stem, then that of each unit."""
        x = self.stem(images)
        yield x
        for unit in self.units.values():
            x = unit(x)
            yield x

    def __call__(self, images: Any) -> Any:
        """Returns the network's output."""
        *_, last = self.maps(images)
        return self.head(last)


class Branches:
    """A residual unit taken apart at its addition.

    Args:
        begin: the unit's input.
        addition: Keras's node of the call of the layer that adds shortcut and residual.
        end: the unit's output.
    """

    def __init__(self, begin: keras.KerasTensor, addition: Any, end: keras.KerasTensor) -> None:
        (shortcut, residual), (added,) = addition.input_tensors, addition.outputs
        # Keras cannot make a model from a tensor to itself.
        self._identity = shortcut is begin
        self._before = keras.Model(begin, residual if self._identity else [shortcut, residual])
        self._after = None if added is end else keras.Model(added, end)

    def split(self, x: Any) -> tuple[Any, Any]:
        """Maps the unit's input to its shortcut and its residual, which have the same shape."""
        return (x, self._before(x)) if self._identity else tuple(self._before(x))

    def after(self, x: Any) -> Any:
        """Maps the sum of shortcut and residual to the unit's output."""
        return x if self._after is None else self._after(x)


def chain(model: keras.Model) -> Chain:
    """Takes a network apart into stem, units and head.

    A max-pooling at the beginning of a stage belongs to the stage's first unit.

    Args:
        model: a model of this package.

    Raises:
        ValueError: the model is not one of this package.
    """
    ends = last_outputs(model, unit_of)
    units = {name: use_fast_layers(keras.Model(begin, end, name=name)) for begin, name, end in _units(ends)}
    last = list(ends.values())[-1]
    return Chain(
        keras.Model(model.input, ends["stem"], name="stem"), units, keras.Model(last, model.output, name="head")
    )


def branches(model: keras.Model) -> dict[str, Branches]:
    """Takes the residual units of a network apart into shortcut and residual.

    Args:
        model: a model of this package.

    Returns:
        The branches of each unit, by its name; empty for a plain network, whose units have no shortcuts.

    Raises:
        ValueError: the model is not one of this package.
    """
    ends, calls_by_layer = last_outputs(model, unit_of), calls(model)
    return {
        name: Branches(begin, calls_by_layer[f"{name}_add"][0], end)
        for begin, name, end in _units(ends)
        if f"{name}_add" in calls_by_layer
    }


def _units(ends: dict[str, keras.KerasTensor]) -> Iterator[tuple[keras.KerasTensor, str, keras.KerasTensor]]:
    """Yields the input, the name and the output of each unit, given the outputs of the stem and the units."""
    for (_, begin), (name, end) in itertools.pairwise(ends.items()):
        yield begin, name, end
