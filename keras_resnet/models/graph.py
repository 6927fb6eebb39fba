"""A functional model's own graph: its layers may be called in others too, as `any_size` and `chain` call them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras


def nodes(model: keras.Model) -> list[Any]:
    """The calls of a model's operations, Keras's nodes, in the order in which they are made."""
    return [node for depth in sorted(model._nodes_by_depth, reverse=True) for node in model._nodes_by_depth[depth]]


def calls(model: keras.Model) -> dict[str, list[Any]]:
    """Those of each layer, by its name; `layer.output` is of the first there ever was, be it in another model."""
    found: dict[str, list[Any]] = {}
    for node in nodes(model):
        found.setdefault(node.operation.name, []).append(node)
    return found


def takers(among: Iterable[Any]) -> dict[int, list[Any]]:
    """Which of these calls take a tensor, by its identity; one that takes it twice is there twice."""
    found: dict[int, list[Any]] = {}
    for node in among:
        for tensor in node.input_tensors:
            found.setdefault(id(tensor), []).append(node)
    return found


def plain(node: Any) -> bool:
    """Whether a layer is called with nothing but what it takes: with no `training` or mask of the graph's own."""
    return all(value is None for value in node.arguments.kwargs.values())


def uncompiled(model: keras.Model) -> keras.Model:
    """The same graph in a model that knows no loss: Keras compiles the clone of one that is compiled."""
    return keras.Model(model.input, model.output, name=model.name)
