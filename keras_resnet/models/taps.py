"""Access to the inside of a network: the outputs of its stages, its logits, and its logits at every position.

The layers are found by their names, so these functions also work on models that were saved and loaded.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import keras

from .fast_layers import use_fast_layers
from .graph import calls, last_outputs, require_package_model, uncompiled
from .network import part


def taps(model: keras.Model) -> dict[str, keras.KerasTensor]:
    """Returns the named intermediate outputs of a network, in the order in which they are computed.

    Args:
        model: a model of this package.

    Returns:
        A dict of Keras tensors by name: "stem", "stage1", "stage2", ... (the output of the last layer of each;
        the stride doubles from stage to stage, except that with `downsample="last_unit"`, as in keras.applications' V2,
        the last two stages have the same), "features" (the feature map that the head pools), and for a network with a
        top "pooled" and "logits".

    Raises:
        ValueError: the model is not one of this package.
    """
    outputs, calls_by_layer = last_outputs(model, part), calls(model)
    head = outputs.pop("head", None)
    outputs["features"] = list(outputs.values())[-1] if head is None else head
    if "logits" in calls_by_layer:
        node = calls_by_layer["logits"][0]
        outputs |= {"pooled": node.input_tensors[0], "logits": node.outputs[0]}
    return outputs


def features(model: keras.Model, names: Iterable[str] | None = None) -> keras.Model:
    """Returns a model that computes intermediate outputs of a network and shares its weights.

    Args:
        model: a model of this package.
        names: names of the outputs, as `keras_resnet.taps` lists them; None for those of all stages, as a feature
            pyramid needs.

    Returns:
        A `keras.Model` whose output is a dict of tensors by name. Those of stages have the shape (batch, height, width,
        channels), with "channels_first" (batch, channels, height, width).

    Raises:
        ValueError: the network has no output of a given name, `names` is a string or empty, or the model is not one
            of this package.

    Example:
        >>> model = keras_resnet.ResNet50(include_top=False)
        >>> pyramid = keras_resnet.features(model)  # stage1 to stage4
        >>> maps = keras_resnet.features(model, ["stage2", "stage4"])(images)
    """
    available = taps(model)
    if names is None:
        names = [name for name in available if name.startswith("stage")]
    if isinstance(names, str) or not (names := list(names)):
        raise ValueError(f"`names` must be a list of one or more of {', '.join(available)}. Received: {names!r}")
    if unknown := [name for name in names if name not in available]:
        raise ValueError(
            f"{model.name!r} has the taps {', '.join(available)}. Received: {', '.join(map(str, unknown))}"
        )
    return use_fast_layers(
        keras.Model(model.input, {name: available[name] for name in names}, name=f"{model.name}_features")
    )


def to_logits(model: keras.Model) -> keras.Model:
    """Returns the network up to its logits, from which the cross-entropy is computed most accurately.

    Args:
        model: a model of this package with a top.

    Returns:
        A `keras.Model` that shares the network's weights and name.

    Raises:
        ValueError: the model has no top, or is not one of this package.
    """
    logits = _with_logits(model)["logits"]
    return use_fast_layers(keras.Model(model.input, logits, name=model.name))


def any_size(model: keras.Model) -> keras.Model:
    """Returns the same network for images of any size.

    Args:
        model: a model of this package that takes images of one size.

    Returns:
        A `keras.Model` that shares the network's layers and whose input has None for height and width.

    Raises:
        ValueError: the network subtracts a per-pixel mean, which fits only one size, or is not one of this package.
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization) and len(layer.axis) > 1:
            raise ValueError(
                f"{model.name!r} subtracts a per-pixel mean, so it takes only images of {model.input_shape[1:]}. "
                "A network that was trained with --mean channel takes images of any size."
            )
    require_package_model(model, f", so it takes only images of {model.input_shape[1:]}")
    channels = 0 if model.get_layer("stem_conv").data_format == "channels_first" else 2
    shape = [size if axis == channels else None for axis, size in enumerate(model.input_shape[1:])]
    image = keras.Input(shape, name="image")
    resized = keras.models.clone_model(uncompiled(model), input_tensors=image, clone_function=lambda layer: layer)
    return use_fast_layers(resized)


def dense_logits(model: keras.Model) -> keras.Model:
    """Returns the fully convolutional form of a network, which applies the dense layer at every position.

    He et al. 2015, section 3.4, test with it at multiple scales.

    Args:
        model: a model of this package with a top; build it with `input_shape=(None, None, 3)` to use images of any
            size.

    Returns:
        A `keras.Model` that shares the network's weights. Its output, the logits, has the shape (batch, height, width,
        classes) with "channels_last" and (batch, classes, height, width) with "channels_first".

    Raises:
        ValueError: the model has no top, or is not one of this package.
    """
    x, dense = _with_logits(model)["features"], model.get_layer("logits")
    if model.get_layer("avg_pool").data_format == "channels_last":
        x = dense(x)
    else:  # the dense layer applies to the last axis
        permute = partial(keras.layers.Permute, dtype=dense.dtype_policy)
        x = permute((3, 1, 2))(dense(permute((2, 3, 1))(x)))
    return use_fast_layers(keras.Model(model.input, x, name=f"{model.name}_dense"))


def _with_logits(model: keras.Model) -> dict[str, keras.KerasTensor]:
    """Returns the taps of a network, which must have a top."""
    available = taps(model)
    if "logits" not in available:
        raise ValueError(f"{model.name!r} has no logits. Build it with `include_top=True`.")
    return available
