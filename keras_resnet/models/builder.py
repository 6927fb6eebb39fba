"""`ResNet`: from the choices of a `Spec` and the arguments of keras.applications to a Keras model."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from .keras_layers import KerasLayers
from .network import features
from .rows import STEMS
from .spec import Spec


def ResNet(  # noqa: N802
    stage_units: Sequence[int],
    stage_filters: Sequence[int],
    include_top: bool = True,
    weights: str | Path | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "resnet",
    *,
    data_format: str | None = None,
    dtype: Any = None,
    **choices: Any,
) -> keras.Model:
    """Builds any residual network of He et al. 2015 and 2016, or a plain one.

    The arguments up to `name` are those of keras.applications, in its order. The one difference: `weights` defaults
    to None, since most networks here have no published weights.

    Convolutions have no bias. Their kernels start as He's untruncated normal of variance 2 / fan-out (He et al. 2015,
    section 3.4). Strided convolutions pad symmetrically, as in Caffe and torch.

    Args:
        stage_units: units in each stage, such as (3, 4, 6, 3). Every stage but the first halves the map.
        stage_filters: filters of each stage, such as (64, 128, 256, 512).
        include_top: end in average pooling and a dense layer; otherwise in the last map, see `pooling`.
        weights: None for a random start, "imagenet", or the path of a weights file or of a `.keras` file.
        input_tensor: a Keras tensor to build on, instead of a new input.
        input_shape: (height, width, channels), or (channels, height, width) with "channels_first". Height and width
            may be None and must be at least the network's total stride: 32 with the "imagenet" stem of four stages,
            4 with the "cifar" stem of three. Defaults to 224x224x3 or 32x32x3, without the top to any size.
        pooling: without the top: None for the 4-D map, "avg" or "max" for a vector an image.
        classes: number of classes.
        classifier_activation: the activation on the logits; None to end in the logits.
        name: the model's name.
        data_format: "channels_last" or "channels_first"; None is Keras's global setting. Kept in the saved file.
        dtype: dtype policy, such as "mixed_bfloat16"; None is Keras's global policy. The head keeps the precision of
            the variables.
        **choices: `unit`, `order`, `shortcut`, `skip`, `stem`, `downsample`, `stride_on`, `width`,
            `zero_init_residual`, `stochastic_depth` and the others that `keras_resnet.Spec` explains.

    Returns:
        A functional `keras.Model` whose layers are named `stem_conv`, `stage2_unit1_conv1`, `logits`, `predictions`.
        It takes images as they come out of your preprocessing; the output is (batch, classes), or the map or vector
        that `pooling` asks for.

    Raises:
        ValueError: a choice that does not exist or contradicts another, an input that is too small, classes that the
            weights do not have, weights that do not fit.
    """
    spec = Spec(stage_units=tuple(stage_units), stage_filters=tuple(stage_filters), **choices)
    layers = KerasLayers(data_format, dtype, spec.bn_momentum, spec.bn_epsilon)
    _check_weights(weights, include_top, classes, classifier_activation)
    if pooling not in (None, "avg", "max"):
        raise ValueError(f"`pooling` must be None, 'avg' or 'max'. Received: {pooling!r}")
    if include_top and (not isinstance(classes, int) or classes < 1):
        raise ValueError(f"`classes` must be a positive integer. Received: {classes!r}")

    allow_depth(spec.depth)
    image = _image(input_tensor, input_shape, spec, layers.data_format, weights, include_top)
    x = features(layers, image, spec)
    if include_top:
        x = layers.classifier(x, classes, classifier_activation)
    elif pooling:
        x = layers.global_pool(x, pooling)
    inputs = [image] if input_tensor is None else keras.utils.get_source_inputs(image)
    model = keras.Model(inputs[0] if len(inputs) == 1 else inputs, x, name=name)
    if weights is not None:
        from ..weights import load_into  # weights knows the models, not the other way round

        load_into(model, weights, spec)
    return model


def allow_depth(depth: int) -> None:
    """Raises Python's recursion limit to what a network of so many weighted layers needs.

    Keras walks a functional model recursively, a frame a layer, whenever it is built, cloned or loaded: from some 300
    weighted layers on, that is more than Python's limit of 1,000. The limit stays raised, for what the caller does
    with the model.
    """
    frames = 1000 + 8 * depth  # at most six layers a weighted one
    sys.setrecursionlimit(max(sys.getrecursionlimit(), frames))


def _check_weights(weights: Any, include_top: bool, classes: int, classifier_activation: Any) -> None:
    if weights is None:
        return
    if weights != "imagenet" and not Path(weights).exists():
        raise ValueError(
            "`weights` must be None (random initialisation), 'imagenet', or the path of a weights file that exists. "
            f"Received: weights={str(weights)!r}"
        )
    if weights == "imagenet" and include_top and classes != 1000:
        raise ValueError(
            "With `weights='imagenet'` and `include_top=True`, `classes` must be 1000. "
            f"Received: classes={classes!r}. For other classes, take `include_top=False` and add a head."
        )
    if include_top and keras.activations.get(classifier_activation) not in (
        keras.activations.get(None),
        keras.activations.softmax,
    ):
        raise ValueError(
            "With pretrained weights and `include_top=True`, `classifier_activation` must be None or 'softmax'. "
            f"Received: classifier_activation={classifier_activation!r}"
        )


def _image(
    tensor: Any, shape: Sequence[int | None] | None, spec: Spec, data_format: str, weights: Any, include_top: bool
) -> Any:
    """The tensor that the network begins with."""
    if tensor is not None:
        if not keras.backend.is_keras_tensor(tensor):
            tensor = keras.Input(tensor=tensor)
        _check_shape(tuple(tensor.shape)[1:], spec, data_format, weights, "input_tensor")
        return tensor
    if shape is None:
        size = STEMS[spec.stem].image_size if include_top else None
        shape = (size, size, 3) if data_format == "channels_last" else (3, size, size)
    _check_shape(shape, spec, data_format, weights, "input_shape")
    return keras.Input(tuple(shape), name="image")


def _check_shape(shape: Sequence[int | None], spec: Spec, data_format: str, weights: Any, argument: str) -> None:
    layout = "(height, width, channels)" if data_format == "channels_last" else "(channels, height, width)"
    if len(shape) != 3:
        raise ValueError(f"`{argument}` must have three dimensions, {layout}. Received: {tuple(shape)}")
    *size, channels = shape if data_format == "channels_last" else (*shape[1:], shape[0])
    if channels is None or channels < 1:
        raise ValueError(f"`{argument}` must name its channels: {layout}. Received: {tuple(shape)}")
    if weights == "imagenet" and channels != 3:
        raise ValueError(
            f"The input must have 3 channels for `weights='imagenet'`. Received: {argument}={tuple(shape)}"
        )
    if any(pixels is not None and pixels < spec.total_stride for pixels in size):
        raise ValueError(
            f"Input size must be at least {spec.total_stride}x{spec.total_stride}, the network's total stride. "
            f"Received: {argument}={tuple(shape)}"
        )
