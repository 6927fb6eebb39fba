"""A functional model's own graph: its layers may be called in others too, as `any_size` and `chain` call them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
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


def last_outputs(model: keras.Model, part: Callable[[str], str | None]) -> dict[str, Any]:
    """The output of the last layer of each part of a network.

    Args:
        model: a model of this package.
        part: from the name of a layer to the part that it belongs to; None for one that belongs to none.

    Returns:
        Keras tensors by part, in the order in which the parts begin.

    Raises:
        ValueError: none of this package.
    """
    require_package_model(model)
    last = {name: layer.name for layer in model.layers if (name := part(layer.name))}
    called = calls(model)
    return {name: called[layer][0].outputs[0] for name, layer in last.items()}


def require_package_model(model: keras.Model, hence: str = "") -> None:
    """Refuses a model whose layers do not bear the names of this package's.

    Args:
        model: any Keras model.
        hence: what follows for it, for the message.

    Raises:
        ValueError: it is none of this package.
    """
    names = [layer.name for layer in model.layers]
    if "stem_conv" not in names or not any(re.match(r"stage\d+_unit\d+_", name) for name in names):
        raise ValueError(
            f"{model.name!r} is no network of keras_resnet{hence}: it has no layers named stem_conv and "
            "stage1_unit1_..."
        )


def consumers(among: Iterable[Any]) -> dict[int, list[Any]]:
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
