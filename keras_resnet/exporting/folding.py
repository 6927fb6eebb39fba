"""A network without what inference does not need: batch norm that a convolution can do, and dropout."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from ..models.fast_layers import FUNCTIONAL, REGISTERED, register, use_fast_layers
from ..models.graph import calls, consumers, nodes, plain, uncompiled

CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D, layers.Dense)
PRECISE = (
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
    _check_functional(model)
    folded, called = _pairs(model), calls(model)
    idle = {layer.name for layer in model.layers if _is_idle(layer, called[layer.name])}
    gone = idle | {norm.name for norm in folded.values()}
    changes = {name: {"use_bias": True, **_adapted(model.get_layer(name))} for name in folded}
    values = {name: _absorbed(model.get_layer(name), norm) for name, norm in folded.items()}
    return _clone(model, changes, values, gone)


def in_dtype(model: keras.Model, dtype: str) -> keras.Model:
    """The same network with another dtype; what loses digits in half precision, normalisation and head, has float32.

    Args:
        model: a functional model; it stays as it is.
        dtype: such as "bfloat16".

    Raises:
        ValueError: a model that is not functional.
    """
    _check_functional(model)
    dtypes = {layer.name: "float32" if isinstance(layer, PRECISE) else dtype for layer in model.layers}
    return _clone(model, {name: {"dtype": chosen} for name, chosen in dtypes.items()})


def outcome(network: keras.Model, model: keras.Model) -> dict[str, Any]:
    """What came of a network, whatever was asked for: networks within it stay as they are.

    Args:
        network: as it was.
        model: what `fold` and `in_dtype` made of it.

    Returns:
        "dtype", what the convolutions of `model` compute in; and "batch_norm", how many are "folded" and "left".
    """
    within = model._flatten_layers()
    convolutions = [layer for layer in within if hasattr(layer, "kernel_size")] or within
    before, left = (
        sum(isinstance(layer, layers.BatchNormalization) for layer in one._flatten_layers()) for one in (network, model)
    )
    return {
        "dtype": ", ".join(sorted({layer.compute_dtype for layer in convolutions})),
        "batch_norm": {"folded": before - left, "left": left},
    }


def _check_functional(model: keras.Model) -> None:
    if getattr(model.__class__, "call", None) is not FUNCTIONAL.call:
        raise ValueError(f"{model!r} is no functional model: its layers cannot be told from one another.")


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
        copy = use_fast_layers(keras.models.clone_model(uncompiled(model), clone_function=clone, call_function=call))
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
    """By the name of a layer the batch norm that it can do. Subclasses of Keras's may compute something else."""
    found = {}
    called, taken = calls(model), consumers(nodes(model))
    outputs = {id(tensor) for tensor in model.outputs}
    for layer in model.layers:
        if layer.__class__ not in CONVOLUTIONS or layer.activation is not keras.activations.linear:
            continue
        given = called[layer.name][0].outputs[0]
        behind = taken.get(id(given), ())
        if len(called[layer.name]) != 1 or len(behind) != 1 or id(given) in outputs:  # called twice, or seen outside
            continue
        norm = behind[0].operation
        if _fits(layer, norm, len(given.shape)) and plain(behind[0]) and len(called[norm.name]) == 1:
            found[layer.name] = norm
    return found


def _fits(layer: keras.Layer, norm: Any, rank: int) -> bool:
    """Whether a layer is a batch norm over the channels that another puts out."""
    first = getattr(layer, "data_format", "channels_last") == "channels_first"
    axis = 1 if first else rank - 1
    return norm.__class__ is layers.BatchNormalization and norm.axis % rank == axis


def _is_idle(layer: keras.Layer, called: Sequence[Any]) -> bool:
    """Whether a layer passes on what it gets; with `training=True` in the graph it does not."""
    return layer.__class__ in IDLE and not any(node.arguments.kwargs.get("training") for node in called)


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
