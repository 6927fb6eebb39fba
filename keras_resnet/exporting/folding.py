"""Removal of what inference does not need: batch norm that can be folded into a convolution, and dropout."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from ..models.fast_layers import REGISTERED, Functional, register, use_fast_layers
from ..models.graph import calls, consumers, has_only_inputs, nodes, uncompiled

CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D, layers.Dense)
PRECISE = (
    layers.Normalization,
    layers.GlobalAveragePooling2D,
    layers.GlobalMaxPooling2D,
    layers.Dense,
    layers.Activation,
)
IDLE = (layers.Dropout, layers.SpatialDropout2D, layers.GaussianNoise)  # the identity outside of training


def as_functional(model: keras.Model) -> keras.Model:
    """Returns a model as a functional one that returns a tensor, and shares its layers: `model` itself if it is such.

    Otherwise that of a `Sequential`, or of a functional model that returns a dict of one tensor.

    Raises:
        ValueError: the model is neither, or a layer of it is quantised.
    """
    if isinstance(model, keras.Sequential) and model.built:
        model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    _check_functional(model)
    if isinstance(model.output, dict) and len(model.outputs) == 1:
        model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    if quantised := [layer.name for layer in model._flatten_layers() if getattr(layer, "quantization_mode", None)]:
        raise ValueError(
            f"{model.name!r} must not be quantised, since an export begins with weights in full precision: export it "
            f"before `quantize`. Received: {quantised[0]} and {len(quantised) - 1} more quantised layers"
        )
    return model


def fold(model: keras.Model) -> keras.Model:
    """Folds batch norm into convolutions and removes dropout.

    A batch norm that is the only consumer of a convolution's or dense layer's output is folded into its kernel and
    bias. In the original units (2015), these are all batch norms. One that follows an addition remains, such as the
    first of every full pre-activation unit (2016): a ReLU separates it from the convolution that follows.

    Args:
        model: a functional model; it is not modified.

    Returns:
        A model whose outputs differ by rounding only. Its layers keep their names.

    Raises:
        ValueError: the model is not functional.
    """
    _check_functional(model)
    folded, called = _foldable(model), calls(model)
    idle = {layer.name for layer in model.layers if _is_idle(layer, called[layer.name])}
    removed = idle | {norm.name for norm in folded.values()}
    changes = {name: {"use_bias": True, **_without_lora(model.get_layer(name))} for name in folded}
    weights = {name: _folded_weights(model.get_layer(name), norm) for name, norm in folded.items()}
    return _clone(model, changes, weights, removed)


def in_dtype(model: keras.Model, dtype: str) -> keras.Model:
    """Returns a copy of a network in another dtype.

    Normalisation and head, which lose accuracy in half precision, are in float32.

    Args:
        model: a functional model; it is not modified.
        dtype: a dtype such as "bfloat16".

    Raises:
        ValueError: the model is not functional.
    """
    _check_functional(model)
    dtypes = {layer.name: "float32" if isinstance(layer, PRECISE) else dtype for layer in model.layers}
    return _clone(model, {name: {"dtype": layer_dtype} for name, layer_dtype in dtypes.items()})


def outcome(network: keras.Model, model: keras.Model) -> dict[str, Any]:
    """Describes the effect of `fold` and `in_dtype`, which leave networks nested in a model unchanged.

    Args:
        network: the original network.
        model: the result of `fold` and `in_dtype`.

    Returns:
        "dtype", the compute dtypes of the convolutions of `model`; and "batch_norm", how many are "folded" and "left".
    """
    flattened = model._flatten_layers()
    convolutions = [layer for layer in flattened if hasattr(layer, "kernel_size")] or flattened
    before, left = (
        sum(isinstance(layer, layers.BatchNormalization) for layer in one._flatten_layers()) for one in (network, model)
    )
    return {
        "dtype": ", ".join(sorted({layer.compute_dtype for layer in convolutions})),
        "batch_norm": {"folded": before - left, "left": left},
    }


def _check_functional(model: keras.Model) -> None:
    if getattr(model.__class__, "call", None) is not Functional.call:
        raise ValueError(f"The model must be functional, so that its graph of layers is known. Received: {model!r}")


def _clone(
    model: keras.Model,
    changes: Mapping[str, Mapping[str, Any]],
    weights: Mapping[str, list[np.ndarray]] | None = None,
    removed: Collection[str] = (),
) -> keras.Model:
    """Copies a model with changes.

    Args:
        model: the model.
        changes: changes to the configurations of layers, by layer name.
        weights: weights that differ from the model's own, by layer name.
        removed: names of the layers to replace by the identity.
    """

    def clone(layer: keras.Layer) -> keras.Layer:
        config = {**layer.get_config(), **changes.get(layer.name, {})}
        return layer.__class__.from_config({name: register(value) for name, value in config.items()})

    def call(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        return args[0] if layer.name in removed else layer(*args, **kwargs)

    with keras.saving.custom_object_scope(REGISTERED):
        copy = use_fast_layers(keras.models.clone_model(uncompiled(model), clone_function=clone, call_function=call))
    weights = weights or {}
    for layer in copy.layers:
        if layer.name in weights:
            layer.set_weights(weights[layer.name])
        elif layer.weights:
            _copy(model.get_layer(layer.name), layer)
    return copy


def _copy(source: keras.Layer, layer: keras.Layer) -> None:
    """Copies the weights of a layer, and of the layers within it, to another layer of the same structure."""
    for one, other in zip(source._flatten_layers(), layer._flatten_layers(), strict=True):
        store: dict[str, Any] = {}
        one.save_own_variables(store)
        if store:
            other.load_own_variables(store)  # after `set_weights`, a normalisation would keep its old mean


def _without_lora(layer: keras.Layer) -> dict[str, None]:
    """Returns the changes to a layer's configuration after its LoRA weights were merged into the kernel."""
    return {"lora_rank": None} if getattr(layer, "lora_enabled", False) else {}


def _foldable(model: keras.Model) -> dict[str, layers.BatchNormalization]:
    """Returns the batch norms that can be folded, by the name of the layer to fold them into.

    Only Keras's own classes count, since subclasses may compute something else.
    """
    pairs = {}
    called, consumed_by = calls(model), consumers(nodes(model))
    outputs = {id(tensor) for tensor in model.outputs}
    for layer in model.layers:
        if layer.__class__ not in CONVOLUTIONS or layer.activation is not keras.activations.linear:
            continue
        output = called[layer.name][0].outputs[0]
        following = consumed_by.get(id(output), ())
        # Another call, another consumer or the model's user may need the output without batch norm.
        if len(called[layer.name]) != 1 or len(following) != 1 or id(output) in outputs:
            continue
        norm = following[0].operation
        if _fits(layer, norm, len(output.shape)) and has_only_inputs(following[0]) and len(called[norm.name]) == 1:
            pairs[layer.name] = norm
    return pairs


def _fits(layer: keras.Layer, norm: Any, rank: int) -> bool:
    """Returns whether `norm` is a batch norm over the output channels of `layer`, whose output has `rank` axes."""
    first = getattr(layer, "data_format", "channels_last") == "channels_first"
    axis = 1 if first else rank - 1
    return norm.__class__ is layers.BatchNormalization and norm.axis % rank == axis


def _is_idle(layer: keras.Layer, called: Sequence[Any]) -> bool:
    """Returns whether a layer is the identity at inference: not if the graph calls it with `training=True`."""
    return layer.__class__ in IDLE and not any(node.arguments.kwargs.get("training") for node in called)


def _folded_weights(layer: keras.Layer, norm: layers.BatchNormalization) -> list[np.ndarray]:
    """Returns the kernel and bias of a layer with batch norm folded in."""
    mean, variance = (np.float64(keras.ops.convert_to_numpy(v)) for v in (norm.moving_mean, norm.moving_variance))
    scale = 1 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        scale *= np.float64(keras.ops.convert_to_numpy(norm.gamma))
    kernel = np.float64(keras.ops.convert_to_numpy(layer.kernel))
    shift = (np.float64(keras.ops.convert_to_numpy(layer.bias)) if layer.use_bias else 0.0) - mean
    offset = np.float64(keras.ops.convert_to_numpy(norm.beta)) if norm.center else 0.0
    return [kernel * scale, shift * scale + offset]  # output channels are the last axis of a kernel
