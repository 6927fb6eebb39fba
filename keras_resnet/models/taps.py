"""Looking into a network: the outputs of its stages, its logits, and its logits at every position.

Works on any model of this package by the names of its layers, also after it was saved and loaded.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras

from .fast_layers import use_fast_layers
from .graph import calls, last_outputs, require_package_model, uncompiled
from .network import part


def taps(model: keras.Model) -> dict[str, Any]:
    """The named intermediate outputs of a network, in the order in which they are computed.

    Args:
        model: a model of this package.

    Returns:
        Keras tensors by name: "stem", "stage1", "stage2", ... (each the output of its last layer; its stride doubles
        from stage to stage, but with `downsample="last_unit"`, as in keras.applications' V2, the last two have one),
        "features" (what the head pools), and with a top "pooled" and "logits".

    Raises:
        ValueError: a model that is none of this package.
    """
    found, called = last_outputs(model, part), calls(model)
    end = found.pop("head", None)
    found["features"] = list(found.values())[-1] if end is None else end
    if "logits" in called:
        node = called["logits"][0]
        found |= {"pooled": node.input_tensors[0], "logits": node.outputs[0]}
    return found


def features(model: keras.Model, names: Iterable[str] | None = None) -> keras.Model:
    """A model that shares the network's weights and returns some of its taps by name.

    Args:
        model: a model of this package.
        names: which taps; None for every stage, as a feature pyramid asks for.

    Returns:
        A `keras.Model` whose output is a dict of tensors by name, (batch, height, width, channels) those of stages
        with "channels_last".

    Raises:
        ValueError: a tap that the network does not have, or a model that is none of this package.
    """
    available = taps(model)
    names = [name for name in available if name.startswith("stage")] if names is None else list(names)
    if unknown := [name for name in names if name not in available]:
        raise ValueError(
            f"{model.name!r} has the taps {', '.join(available)}. Received: {', '.join(map(str, unknown))}"
        )
    return use_fast_layers(
        keras.Model(model.input, {name: available[name] for name in names}, name=f"{model.name}_features")
    )


def to_logits(model: keras.Model) -> keras.Model:
    """The network up to its logits, whose cross-entropy is exact.

    Args:
        model: a model of this package with a top.

    Returns:
        A `keras.Model` that shares the network's weights and name.

    Raises:
        ValueError: a model without a top, or none of this package.
    """
    logits = _with_logits(model)["logits"]
    return use_fast_layers(keras.Model(model.input, logits, name=model.name))


def any_size(model: keras.Model) -> keras.Model:
    """The same network for images of any size.

    Args:
        model: a model of this package that takes images of one size.

    Returns:
        A `keras.Model` of the very same layers, whose input leaves height and width open.

    Raises:
        ValueError: a network whose normalisation has a value a pixel, which fits one size; or none of this package.
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization) and len(layer.axis) > 1:
            raise ValueError(
                f"{model.name!r} subtracts a mean by pixel, which fits images of {model.input_shape[1:]} alone. "
                "A network that was trained with --mean channel takes any size."
            )
    require_package_model(model, f", and takes images of {model.input_shape[1:]} alone")
    channels = 0 if model.get_layer("stem_conv").data_format == "channels_first" else 2
    shape = [size if axis == channels else None for axis, size in enumerate(model.input_shape[1:])]
    image = keras.Input(shape, name="image")
    free = keras.models.clone_model(uncompiled(model), input_tensors=image, clone_function=lambda layer: layer)
    return use_fast_layers(free)


def dense_logits(model: keras.Model) -> keras.Model:
    """The fully convolutional form (He et al. 2015, section 3.4): the dense layer applied at every position.

    Args:
        model: a model of this package with a top, best built for any size: `input_shape=(None, None, 3)`.

    Returns:
        A `keras.Model` that shares the network's weights. Its output is (batch, height, width, classes) logits with
        "channels_last", (batch, classes, height, width) with "channels_first".

    Raises:
        ValueError: a model without a top.
    """
    x, dense = _with_logits(model)["features"], model.get_layer("logits")
    if model.get_layer("avg_pool").data_format == "channels_last":
        x = dense(x)
    else:  # the dense layer works on the last axis
        x = keras.layers.Permute((3, 1, 2))(dense(keras.layers.Permute((2, 3, 1))(x)))
    return use_fast_layers(keras.Model(model.input, x, name=f"{model.name}_dense"))


def _with_logits(model: keras.Model) -> dict[str, Any]:
    """The taps of a network with a top."""
    available = taps(model)
    if "logits" not in available:
        raise ValueError(f"{model.name!r} has no logits. Build it with `include_top=True`.")
    return available
