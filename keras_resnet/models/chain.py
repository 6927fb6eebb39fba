"""A network as what it is a chain of: a stem, units, a head."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras

from .fast_layers import use_fast_layers
from .graph import calls, last_outputs
from .network import unit_of


class Chain(NamedTuple):
    """The parts of a network, which share its layers. Called one behind the other, they are the network.

    Attributes:
        stem: from images to what the first unit takes.
        units: by name, "stage1_unit1", from map to map.
        head: from the last map to the output.
    """

    stem: keras.Model
    units: dict[str, keras.Model]
    head: keras.Model

    def maps(self, images: Any) -> Iterator[Any]:
        """What the stem puts out, then each unit."""
        x = self.stem(images)
        yield x
        for unit in self.units.values():
            x = unit(x)
            yield x

    def __call__(self, images: Any) -> Any:
        """The network's output."""
        *_, last = self.maps(images)
        return self.head(last)


class Branches:
    """A residual unit taken apart at its addition.

    Args:
        begin: the tensor that the unit takes.
        addition: the call of the layer that adds its shortcut and its residual.
        end: the tensor that it puts out.
    """

    def __init__(self, begin: Any, addition: Any, end: Any) -> None:
        (shortcut, residual), (added,) = addition.input_tensors, addition.outputs
        # Keras makes no model from a tensor to itself.
        self._identity = shortcut is begin
        self._before = keras.Model(begin, residual if self._identity else [shortcut, residual])
        self._after = None if added is end else keras.Model(added, end)

    def split(self, x: Any) -> tuple[Any, Any]:
        """From what the unit takes to what its shortcut carries and to its residual, of one shape."""
        return (x, self._before(x)) if self._identity else tuple(self._before(x))

    def after(self, x: Any) -> Any:
        """From the sum of both to what the unit puts out."""
        return x if self._after is None else self._after(x)


def chain(model: keras.Model) -> Chain:
    """Takes a network apart; one whose stages begin with a max-pooling has that in the unit behind it.

    Args:
        model: a model of this package.

    Raises:
        ValueError: none of this package.
    """
    ends = last_outputs(model, unit_of)
    units = {name: use_fast_layers(keras.Model(begin, end, name=name)) for begin, name, end in _between(ends)}
    last = list(ends.values())[-1]
    return Chain(
        keras.Model(model.input, ends["stem"], name="stem"), units, keras.Model(last, model.output, name="head")
    )


def branches(model: keras.Model) -> dict[str, Branches]:
    """Takes the residual units of a network apart.

    Args:
        model: a model of this package.

    Returns:
        The parts of each unit, by its name; none of a plain network, whose units have no shortcut.

    Raises:
        ValueError: none of this package.
    """
    ends, called = last_outputs(model, unit_of), calls(model)
    return {
        name: Branches(begin, called[f"{name}_add"][0], end)
        for begin, name, end in _between(ends)
        if f"{name}_add" in called
    }


def _between(ends: dict[str, Any]) -> Iterator[tuple[Any, str, Any]]:
    """Of each unit what it takes, its name, and what it puts out."""
    for (_, begin), (name, end) in itertools.pairwise(ends.items()):
        yield begin, name, end
