"""A network without what inference does not need: batch norm that a convolution can do, and dropout."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import keras
import numpy as np
from keras import layers

from ..models.running import REGISTERED, quicken, register

CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D, layers.Dense)
PRECISE = (
    layers.InputLayer,
    layers.Normalization,
    layers.GlobalAveragePooling2D,
    layers.GlobalMaxPooling2D,
    layers.Dense,
    layers.Activation,
)
IDLE = (layers.Dropout, layers.SpatialDropout2D, layers.GaussianNoise)  # outside of training they pass on what they get


def fold(model: keras.Model) -> keras.Model:
    """The same function with less to do.

    A batch norm that alone takes what a convolution or a dense layer puts out becomes part of it: of its kernel and a
    bias. In the original units (2015) these are all. Behind an addition it stays, as every first one of a full
    pre-activation unit (2016) does: a ReLU parts it from the convolution behind it.

    Args:
        model: a functional model; it stays as it is.

    Returns:
        A model whose outputs differ by rounding alone. Its layers keep their names.

    Raises:
        ValueError: a model that is not functional.
    """
    if not hasattr(model, "operations"):
        raise ValueError(f"{model!r} is no functional model: its layers cannot be told from one another.")
    folded = _pairs(model)
    gone = {norm.name for norm in folded.values()} | {layer.name for layer in model.layers if isinstance(layer, IDLE)}
    changes = {name: {"use_bias": True, **_adapted(model.get_layer(name))} for name in folded}
    values = {name: _absorbed(model.get_layer(name), norm) for name, norm in folded.items()}
    return _clone(model, changes, values, gone)


def in_dtype(model: keras.Model, dtype: str) -> keras.Model:
    """The same network with another dtype, but for what loses digits in half precision: normalisation and the head.

    Args:
        model: a functional model; it stays as it is.
        dtype: such as "bfloat16".
    """
    return _clone(model, {layer.name: {"dtype": dtype} for layer in model.layers if not isinstance(layer, PRECISE)})


def _clone(
    model: keras.Model,
    changes: Mapping[str, Mapping[str, Any]],
    values: Mapping[str, list[np.ndarray]] | None = None,
    gone: Collection[str] = (),
) -> keras.Model:
    """A copy of a model.

    Args:
        model: the model.
        changes: by the name of a layer what differs in its configuration.
        values: by the name of a layer its weights, where they are not the model's own.
        gone: the names of layers that pass on what they get.
    """

    def clone(layer: keras.Layer) -> keras.Layer:
        config = {**layer.get_config(), **changes.get(layer.name, {})}
        return layer.__class__.from_config({name: register(value) for name, value in config.items()})

    def call(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        return args[0] if layer.name in gone else layer(*args, **kwargs)

    with keras.saving.custom_object_scope(REGISTERED):
        copy = quicken(keras.models.clone_model(model, clone_function=clone, call_function=call))
    for layer in copy.layers:
        if layer.name in (values or {}):
            layer.set_weights(values[layer.name])
        elif layer.weights:
            _copy(model.get_layer(layer.name), layer)
    return copy


def _copy(source: keras.Layer, layer: keras.Layer) -> None:
    """Gives a layer the weights of another of its kind, and those of the layers within to those within."""
    for one, other in zip(source._flatten_layers(), layer._flatten_layers(), strict=True):
        store: dict[str, Any] = {}
        one.save_own_variables(store)
        if store:
            other.load_own_variables(store)  # and not `set_weights`, behind which a normalisation keeps its old mean


def _adapted(layer: keras.Layer) -> dict[str, None]:
    """What differs in the configuration of a layer whose kernel has taken up what LoRA adds to it."""
    return {"lora_rank": None} if getattr(layer, "lora_enabled", False) else {}


def _pairs(model: keras.Model) -> dict[str, layers.BatchNormalization]:
    """By the name of a layer the batch norm that it can do."""
    found = {}
    outputs = {id(tensor) for tensor in model.outputs}
    for layer in model.layers:
        if not isinstance(layer, CONVOLUTIONS) or layer.activation is not keras.activations.linear:
            continue
        if len(layer._inbound_nodes) != 1 or id(layer.output) in outputs:  # called twice, or seen outside
            continue
        behind = [node.operation for node in layer._outbound_nodes if node.operation in model.operations]
        if len(behind) == 1 and _fits(layer, behind[0]):
            found[layer.name] = behind[0]
    return found


def _fits(layer: keras.Layer, norm: Any) -> bool:
    """Whether a layer is a batch norm, over the channels that another puts out, called once."""
    if not isinstance(norm, layers.BatchNormalization) or len(norm._inbound_nodes) != 1:
        return False
    first = getattr(layer, "data_format", "channels_last") == "channels_first"
    axis = 1 if first else len(layer.output.shape) - 1
    return norm.axis % len(layer.output.shape) == axis


def _absorbed(layer: keras.Layer, norm: layers.BatchNormalization) -> list[np.ndarray]:
    """Kernel and bias of a convolution that does its batch norm's work."""
    mean, variance = (np.float64(keras.ops.convert_to_numpy(v)) for v in (norm.moving_mean, norm.moving_variance))
    scale = 1 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        scale *= np.float64(keras.ops.convert_to_numpy(norm.gamma))
    kernel = np.float64(keras.ops.convert_to_numpy(layer.kernel))
    shift = (np.float64(keras.ops.convert_to_numpy(layer.bias)) if layer.use_bias else 0.0) - mean
    offset = np.float64(keras.ops.convert_to_numpy(norm.beta)) if norm.center else 0.0
    return [kernel * scale, shift * scale + offset]  # the output's channels are a kernel's last axis
