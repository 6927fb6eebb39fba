"""Gives a network named weights, and nothing silently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras
import numpy as np


def assign(model: keras.Model, weights: Mapping[str, Sequence[np.ndarray]], source: str) -> int:
    """Sets the weights of every layer that has any.

    Args:
        model: the network.
        weights: the arrays of each layer, by its name, in the order of `layer.weights`.
        source: where they come from, for the messages.

    Returns:
        The number of layers whose weights were set: all that have any.

    Raises:
        ValueError: a layer that only one of the two has, or an array of another shape; the message names it. The
            network is left as it was.
    """
    layers = {layer.name: layer for layer in model.layers if layer.weights}
    missing, surplus = sorted(layers.keys() - weights.keys()), sorted(weights.keys() - layers.keys())
    if missing:
        raise ValueError(f"{source} does not fit {model.name!r}: it has no weights for {_some(missing)}.")
    if surplus:
        raise ValueError(f"{source} does not fit {model.name!r}: no such layer as {_some(surplus)}.")
    for name, layer in layers.items():
        wanted, given = [tuple(weight.shape) for weight in layer.weights], [np.shape(value) for value in weights[name]]
        if wanted != given:
            raise ValueError(f"{source} does not fit {model.name!r}: {name} is {given} there and {wanted} here.")
    for name, layer in layers.items():
        layer.set_weights(list(weights[name]))
    return len(layers)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
