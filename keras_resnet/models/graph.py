"""The graph of a functional model, apart from those of other models that call the same layers.

`any_size` and `chain`, for instance, make models that share layers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import keras


def nodes(model: keras.Model) -> list[Any]:
    """Returns Keras's nodes, the calls of a model's operations, in the order of computation."""
    return [node for depth in sorted(model._nodes_by_depth, reverse=True) for node in model._nodes_by_depth[depth]]


def calls(model: keras.Model) -> dict[str, list[Any]]:
    """Returns the nodes of each layer in this model, by the layer's name.

    `layer.output` belongs to the layer's first call ever, which may have been in another model.
    """
    nodes_by_layer: dict[str, list[Any]] = {}
    for node in nodes(model):
        nodes_by_layer.setdefault(node.operation.name, []).append(node)
    return nodes_by_layer


def last_operation(model: keras.Model) -> Any:
    """Returns the layer or operation that computes the output of a model, also if it belongs to a model within it."""
    last: Any = model
    while isinstance(last, keras.Model):
        last = getattr(last, "operations", last.layers)[-1]  # a `Sequential` only has layers
    return last


def last_outputs(model: keras.Model, part: Callable[[str], str | None]) -> dict[str, keras.KerasTensor]:
    """Returns the output of the last layer of each part of a network.

    Args:
        model: a model of this package.
        part: returns the part to which the layer of a given name belongs, or None.

    Returns:
        Keras tensors by part, in the order in which the parts begin.

    Raises:
        ValueError: the model is not one of this package.
    """
    require_package_model(model)
    last = {name: layer.name for layer in model.layers if (name := part(layer.name))}
    calls_by_layer = calls(model)
    return {name: calls_by_layer[layer][0].outputs[0] for name, layer in last.items()}


def require_model(model: keras.Model) -> None:
    """Checks that an argument is a model, and not the path of one.

    Raises:
        ValueError: it is anything else.
    """
    if not isinstance(model, keras.Model):
        raise ValueError(
            "`model` must be a Keras model, such as `keras_resnet.load_model` returns. "
            f"Received: {type(model).__name__}"
        )


def require_package_model(model: keras.Model, consequence: str = "") -> None:
    """Checks that a model is one of this package, by the names of its layers.

    Args:
        model: any Keras model.
        consequence: what this means for the model, as the message continues.

    Raises:
        ValueError: it is not one of this package.
    """
    require_model(model)
    names = [layer.name for layer in model.layers]
    if "stem_conv" not in names or not any(re.match(r"stage\d+_unit\d+_", name) for name in names):
        raise ValueError(
            f"{model.name!r} is not a network of keras_resnet{consequence}: it has no layers named stem_conv and "
            "stage1_unit1_..."
        )


def consumers(among: Iterable[Any]) -> dict[int, list[Any]]:
    """Returns the nodes that take each tensor as an input, by the tensor's id.

    A node that takes a tensor twice is listed twice.
    """
    nodes_by_tensor: dict[int, list[Any]] = {}
    for node in among:
        for tensor in node.input_tensors:
            nodes_by_tensor.setdefault(id(tensor), []).append(node)
    return nodes_by_tensor


def has_only_inputs(node: Any) -> bool:
    """Returns whether a layer is called with its inputs only: the graph fixes no `training` argument or mask."""
    return all(value is None for value in node.arguments.kwargs.values())


def uncompiled(model: keras.Model) -> keras.Model:
    """Returns a model of the same graph that is not compiled, since Keras compiles the clone of a compiled model."""
    return keras.Model(model.input, model.output, name=model.name)
