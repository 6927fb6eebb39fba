"""`ResNet`: from the choices of a `Spec` and the arguments of keras.applications to a Keras model."""

from __future__ import annotations

import numbers
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from ..preprocessing import normalize
from .fast_layers import use_fast_layers
from .keras_layers import KerasLayers
from .network import trunk
from .rows import STEMS
from .spec import Spec, as_choices

if TYPE_CHECKING:
    from ..weights import Pretrained


def ResNet(  # noqa: N802
    stage_units: Sequence[int],
    stage_filters: Sequence[int],
    include_top: bool = True,
    weights: str | Path | Pretrained | None = None,
    input_tensor: Any = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "resnet",
    *,
    include_preprocessing: bool = True,
    data_format: str | None = None,
    dtype: Any = None,
    **choices: Any,
) -> keras.Model:
    """Builds any residual network of He et al. 2015 and 2016, or a plain one.

    The arguments up to `name` are those of keras.applications, in its order. Three differences: `weights` defaults to
    None, since most networks here have no published weights; with weights whose normalisation is known, that is in the
    network (`include_preprocessing`); and layers have other names, such as "stage3_unit6_conv2".

    Convolutions have no bias. Their kernels start as He's untruncated normal of variance 2 / fan-out (He et al. 2015,
    section 3.4). Strided convolutions pad symmetrically, as in Caffe and torch.

    Args:
        stage_units: units in each stage, such as (3, 4, 6, 3). Every stage but the first halves the map.
        stage_filters: filters of each stage, such as (64, 128, 256, 512).
        include_top: end in average pooling and a dense layer; otherwise in the last map, see `pooling`.
        weights: None for a random start, "imagenet", "hf://OWNER/NAME" on the Hugging Face hub, or the path of a file
            of weights or of a model; `keras_resnet.weights.read` says more.
        input_tensor: a Keras tensor to build on, instead of a new input.
        input_shape: (height, width, channels), or (channels, height, width) with "channels_first". Height and width
            may be None and must be at least the network's total stride: 32 with the "imagenet" stem of four stages,
            4 with the "cifar" stem of three. Defaults to 224x224x3 or 32x32x3, without the top to any size; with
            weights, to as many channels as they take, and to the size of a mean by pixel.
        pooling: without the top: None for the 4-D map, "avg" or "max" for a vector an image.
        classes: number of classes. Where the weights are for another number, the dense layer starts anew.
        classifier_activation: the activation on the logits; None to end in the logits.
        name: the model's name.
        include_preprocessing: with weights whose normalisation is known: begin with it, so that the network takes raw
            RGB images of 0 to 255. Otherwise it takes images as they come out of your preprocessing; for "imagenet"
            weights of keras.applications, out of its `preprocess_input`.
        data_format: "channels_last" or "channels_first"; None is Keras's global setting. Kept in the saved file.
        dtype: dtype policy, such as "mixed_bfloat16"; None is Keras's global policy. The head keeps the precision of
            the variables.
        **choices: `unit`, `order`, `shortcut`, `skip`, `stem`, `downsample`, `stride_on`, `width`,
            `zero_init_residual`, `stochastic_depth` and the others that `keras_resnet.Spec` explains.

    Returns:
        A functional `keras.Model` whose layers are named `stem_conv`, `stage2_unit1_conv1`, `logits`, `predictions`.
        Its output is (batch, classes), or the map or vector that `pooling` asks for.

    Raises:
        ValueError: a choice that does not exist or contradicts another or the weights, an input that is too small,
            weights that do not fit.
    """
    return assemble(
        Spec,
        as_choices({"stage_units": stage_units, "stage_filters": stage_filters, **choices}),
        include_top=include_top,
        weights=weights,
        input_tensor=input_tensor,
        input_shape=input_shape,
        pooling=pooling,
        classes=classes,
        classifier_activation=classifier_activation,
        name=name,
        include_preprocessing=include_preprocessing,
        data_format=data_format,
        dtype=dtype,
    )


def assemble(
    respec: Callable[..., Spec],
    chosen: Mapping[str, Any],
    *,
    include_top: bool,
    weights: str | Path | Pretrained | None,
    input_tensor: Any,
    input_shape: Sequence[int | None] | None,
    pooling: str | None,
    classes: int,
    classifier_activation: Any,
    name: str,
    include_preprocessing: bool = True,
    data_format: str | None = None,
    dtype: Any = None,
    default_classes: int = 1000,
) -> keras.Model:
    """Builds a network; see `ResNet`.

    Args:
        respec: from choices to the network's spec.
        chosen: what the user chose of it. What they did not, the weights may: those of torchvision's ResNet-50 need
            `stride_on="3x3"`.
        default_classes: how many there are if the user does not say.
    """
    spec = respec(**chosen)
    _check_arguments(include_top, weights, pooling, classes, classifier_activation)
    data_format = data_format or keras.config.image_data_format()
    _check_input(input_tensor, input_shape, data_format, weights)
    pretrained = None
    if weights is not None:
        from ..weights import read  # weights knows the models, not the other way round

        top = include_top and classes == default_classes
        pretrained = read(weights, spec, chosen, name=name, top=top)
        spec = pretrained.spec_for(respec, chosen)
        if not include_preprocessing:
            pretrained = replace(pretrained, mean=None)
        elif pretrained.normalised:
            pretrained = pretrained.for_rgb()
    allow_depth(spec.depth)
    x = image = _image(input_tensor, input_shape, spec, data_format, pretrained, include_top)
    if pretrained and pretrained.normalised:
        x = normalize(image, pretrained.mean, pretrained.deviation, data_format)
    layers = KerasLayers(data_format, dtype, spec.bn_momentum, spec.bn_epsilon)
    x = trunk(layers, x, spec)
    if include_top:
        x = layers.classifier(x, int(classes), classifier_activation)
    elif pooling:
        x = layers.global_pool(x, pooling)
    inputs = [image] if input_tensor is None else keras.utils.get_source_inputs(image)
    model = use_fast_layers(keras.Model(inputs[0] if len(inputs) == 1 else inputs, x, name=name))
    if pretrained:
        _fill(model, pretrained, classes if include_top else None, default_classes)
    return model


def _fill(model: keras.Model, pretrained: Pretrained, classes: int | None, default_classes: int) -> None:
    """Gives a network its weights, but for a dense layer of other classes. If none asked for those, says so."""
    head = classes == (pretrained.classes or default_classes)
    pretrained.give_to(model, head=head)
    if not head and classes == default_classes:
        warnings.warn(
            f"{pretrained.source} knows {pretrained.classes} classes; the dense layer of {classes} starts anew. "
            f"Say `classes={pretrained.classes}` to keep it.",
            stacklevel=4,
        )


def allow_depth(depth: int) -> None:
    """Raises Python's recursion limit to what a network of so many weighted layers needs.

    Keras walks a functional model recursively, a frame a layer, whenever it is built, cloned or loaded: from some 300
    weighted layers on, that is more than Python's limit of 1,000. The limit stays raised, for what the caller does
    with the model.
    """
    frames = 1000 + 8 * depth  # at most six layers a weighted one
    sys.setrecursionlimit(max(sys.getrecursionlimit(), frames))


def _check_arguments(include_top: bool, weights: Any, pooling: Any, classes: Any, activation: Any) -> None:
    if pooling not in (None, "avg", "max"):
        raise ValueError(f"`pooling` must be None, 'avg' or 'max'. Received: {pooling!r}")
    if include_top and (not isinstance(classes, numbers.Integral) or classes < 1):
        raise ValueError(f"`classes` must be a positive integer. Received: {classes!r}")
    if weights is None:
        return
    from ..weights import check

    check(weights)
    accepted = keras.activations.get(None), keras.activations.softmax
    if include_top and keras.activations.get(activation) not in accepted:
        raise ValueError(
            "With pretrained weights and `include_top=True`, `classifier_activation` must be None or 'softmax'. "
            f"Received: classifier_activation={activation!r}"
        )


def _check_input(tensor: Any, shape: Sequence[int | None] | None, data_format: str, weights: Any) -> None:
    """Refuses what no network could take, before any weights are read."""
    if tensor is not None and not keras.backend.is_keras_tensor(tensor):
        raise ValueError(f"`input_tensor` must be a Keras tensor, such as `keras.Input` gives. Received: {tensor!r}")
    argument, shape = ("input_shape", shape) if tensor is None else ("input_tensor", tuple(tensor.shape)[1:])
    if shape is None:
        return
    layout = "(height, width, channels)" if data_format == "channels_last" else "(channels, height, width)"
    if len(shape) != 3:
        raise ValueError(f"`{argument}` must have three dimensions, {layout}. Received: {tuple(shape)}")
    channels = shape[-1 if data_format == "channels_last" else 0]
    if channels is None or channels < 1:
        raise ValueError(f"`{argument}` must name its channels: {layout}. Received: {tuple(shape)}")
    if weights == "imagenet" and channels != 3:
        raise ValueError(
            f"The input must have 3 channels for `weights='imagenet'`. Received: {argument}={tuple(shape)}"
        )


def _image(
    tensor: Any,
    shape: Sequence[int | None] | None,
    spec: Spec,
    data_format: str,
    pretrained: Pretrained | None,
    include_top: bool,
) -> Any:
    """The tensor that the network begins with; unless its user says, an image as the weights take it."""
    argument, last = "input_shape" if tensor is None else "input_tensor", data_format == "channels_last"
    if tensor is not None:
        shape = tuple(tensor.shape)[1:]
    elif shape is None:
        size = STEMS[spec.stem].image_size if include_top else None
        *size, channels = pretrained.image_shape(size) if pretrained else (size, size, 3)
        shape = (*size, channels) if last else (channels, *size)
    if any(pixels is not None and pixels < spec.total_stride for pixels in (shape[:-1] if last else shape[1:])):
        raise ValueError(
            f"Input size must be at least {spec.total_stride}x{spec.total_stride}, the network's total stride. "
            f"Received: {argument}={tuple(shape)}"
        )
    return keras.Input(tuple(shape), name="image") if tensor is None else tensor
