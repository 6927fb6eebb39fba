"""A network as what it is a chain of: a stem, units, a head."""

from __future__ import annotations

import itertools
import re
from typing import Any, NamedTuple

import keras


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


def chain(model: keras.Model) -> Chain:
    """Takes a network apart; one whose stages begin with a max-pooling has that in the unit behind it.

    Args:
        model: a model of this package.

    Raises:
        ValueError: none of this package.
    """
    ends: dict[str, Any] = {}
    for layer in model.layers:
        if match := re.match(r"(stem|stage\d+_unit\d+)_", layer.name):
            ends[match[1]] = layer.output
    if "stem" not in ends or len(ends) < 2:
        raise ValueError(f"{model.name!r} has no layers named stage1_unit1_..., so it is no network of keras_resnet.")
    units = {name: keras.Model(begin, end, name=name) for (_, begin), (name, end) in itertools.pairwise(ends.items())}
    last = list(ends.values())[-1]
    return Chain(
        keras.Model(model.input, ends["stem"], name="stem"), units, keras.Model(last, model.output, name="head")
    )
