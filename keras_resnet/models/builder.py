"""`ResNet`: builds a Keras model from the fields of `Spec` and the arguments of keras.applications."""

from __future__ import annotations

import inspect
import numbers
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Unpack

import keras

from ..options import suggestion
from ..preprocessing import normalize
from .fast_layers import use_fast_layers
from .keras_layers import KerasLayers
from .network import trunk
from .rows import STEMS
from .spec import ELSEWHERE, ResNetChoices, Spec

if TYPE_CHECKING:
    from ..weights import Pretrained

    Weights: TypeAlias = str | Path | Pretrained | None


def ResNet(  # noqa: N802
    stage_units: Sequence[int],
    stage_filters: Sequence[int],
    include_top: bool = True,
    weights: Weights = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | Callable[..., Any] | None = "softmax",
    name: str = "resnet",
    *,
    include_preprocessing: bool = True,
    data_format: str | None = None,
    dtype: str | keras.DTypePolicy | None = None,
    **choices: Unpack[ResNetChoices],
) -> keras.Model:
    """Builds any residual network of He et al. 2015 and 2016, or a plain network.

    The arguments from `include_top` to `name` are those of keras.applications, in its order. There are three
    differences: `weights` defaults to None, since most of these networks have no published weights; with pretrained
    weights, the network begins with their normalisation if it is known (`include_preprocessing`); and layers have other
    names, such as "stage3_unit6_conv2".

    Convolutions have no bias. Their kernels are initialised from He's untruncated normal distribution of variance
    2 / fan-out (He et al. 2015, section 3.4). Strided convolutions pad symmetrically, as in Caffe and PyTorch.

    Args:
        stage_units: number of units in each stage, such as (3, 4, 6, 3). Every stage but the first halves the feature
            map.
        stage_filters: filters of each stage, such as (64, 128, 256, 512).
        include_top: whether the network ends in global average pooling and a dense layer. If False, it ends in the last
            feature map; see `pooling`.
        weights: None for random initialisation, "imagenet", "hf://OWNER/NAME" for a repository on the Hugging Face hub,
            or the path of a file of weights or of a model; `keras_resnet.weights.read` lists the formats.
        input_tensor: a Keras tensor to use as the input, instead of a new `keras.Input`.
        input_shape: (height, width, channels), or (channels, height, width) with "channels_first". Height and width may
            be None for any size; otherwise they must be at least the network's total stride: 32 with the "imagenet"
            stem and four stages, 4 with the "cifar" stem and three. Defaults to 224x224x3 or 32x32x3, depending on the
            stem, and without the top to images of any size; with weights, to their number of channels and, if they come
            with a per-pixel mean, to its size.
        pooling: the output without the top: None for the 4-D feature map, "avg" or "max" for its global average or
            maximum, one vector per image.
        classes: number of classes. If the weights are for another number, the dense layer is initialised at random.
        classifier_activation: activation applied to the logits; None to return the logits.
        name: name of the model.
        include_preprocessing: whether a network with pretrained weights begins with their normalisation, if it is
            known, so that it takes raw RGB images of 0 to 255. If False, it takes images that you have normalised; with
            "imagenet" weights of keras.applications, by its `preprocess_input`.
        data_format: "channels_last" or "channels_first", saved with the model; None for Keras's global setting.
        dtype: dtype policy, such as "mixed_bfloat16"; None for Keras's global policy. The head computes in the dtype of
            the variables.
        **choices: further fields of `keras_resnet.Spec`: `unit`, `order`, `shortcut`, `skip`, `stem`, `downsample`,
            `stride_on`, `width`, `zero_init_residual`, `stochastic_depth` and so on.

    Returns:
        A functional `keras.Model` with layers named `stem_conv`, `stage2_unit1_conv1`, `logits`, `predictions` and so
        on. Its output has the shape (batch, classes), or without the top that of the feature map or vector.

    Raises:
        ValueError: a choice does not exist or contradicts another or the weights, the input is too small, or the
            weights do not fit the network.

    Example:
        >>> model = keras_resnet.ResNet((3, 4, 6, 3), (64, 128, 256, 512), unit="bottleneck", classes=10)
        >>> model = keras_resnet.ResNet((3, 3, 3), (16, 32, 64), stem="cifar", order="full_preactivation")
    """
    return assemble(
        Spec,
        {"stage_units": stage_units, "stage_filters": stage_filters, **choices},
        default_classes=1000,
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
    default_classes: int,
    include_top: bool,
    weights: Weights,
    input_tensor: keras.KerasTensor | None,
    input_shape: Sequence[int | None] | None,
    pooling: str | None,
    classes: int,
    classifier_activation: str | Callable[..., Any] | None,
    name: str,
    include_preprocessing: bool,
    data_format: str | None,
    dtype: str | keras.DTypePolicy | None,
) -> keras.Model:
    """Builds a network; see `ResNet` for the arguments that are not listed.

    Args:
        respec: returns the network's spec, given choices as keyword arguments.
        chosen: the fields of the spec that the user chose. The weights may determine the others: those of torchvision's
            ResNet-50 need `stride_on="3x3"`.
        default_classes: the network's default number of classes.
    """
    _check_names(chosen)
    spec = respec(**chosen)
    _check_arguments(include_top, weights, pooling, classes, classifier_activation, data_format)
    data_format = keras.config.image_data_format() if data_format is None else data_format
    _check_input(input_tensor, input_shape, data_format, weights)
    pretrained = None
    if weights is not None:
        from ..weights import read  # not at the top: that package imports this one

        top = include_top and classes == default_classes
        pretrained = read(weights, spec, chosen, name=name, top=top)
        spec = pretrained.spec_for(respec, chosen)
        if not include_preprocessing:
            pretrained = replace(pretrained, mean=None)
        elif pretrained.mean is not None:
            pretrained = pretrained.for_rgb()
    allow_depth(spec.depth)
    x = image = _image(input_tensor, input_shape, spec, data_format, pretrained, include_top)
    if pretrained and pretrained.mean is not None:
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
    """Assigns the weights to a network, except those of a dense layer for another number of classes.

    Warns if that number is the default, so that the user may not have meant to replace the dense layer.
    """
    head = classes == (pretrained.classes or default_classes)
    pretrained.assign_to(model, head=head)
    if not head and classes == default_classes:
        warnings.warn(
            f"{pretrained.source} has {pretrained.classes} classes; the dense layer for {classes} is initialised at "
            f"random. Pass `classes={pretrained.classes}` to keep the weights' own.",
            stacklevel=4,
        )


def allow_depth(depth: int) -> None:
    """Raises Python's recursion limit to what a network of `depth` weighted layers needs.

    Keras walks a functional model recursively, one frame per layer, whenever it is built, cloned or loaded: from some
    300 weighted layers on, that exceeds Python's default limit of 1,000. The limit stays raised, since what the caller
    does with the model needs it too.
    """
    frames = 1000 + 8 * depth  # at most six layers per weighted layer
    sys.setrecursionlimit(max(sys.getrecursionlimit(), frames))


def _check_names(choices: Iterable[str]) -> None:
    """Checks the names of a network's choices, which are those of keyword arguments that no builder lists.

    Raises:
        TypeError: as for any function; the message suggests a name that is close.
    """
    fields = Spec.__dataclass_fields__
    for choice in choices:
        if choice not in fields:
            near = suggestion(choice, [*inspect.signature(ResNet).parameters, *fields])
            hint = f"; did you mean {ELSEWHERE[choice]}?" if choice in ELSEWHERE else near
            raise TypeError(f"A network got an unexpected keyword argument {choice!r}{hint}")


def _check_arguments(
    include_top: Any, weights: Any, pooling: Any, classes: Any, activation: Any, data_format: Any
) -> None:
    if include_top not in (True, False):  # such as weights by position, as other libraries take them
        raise ValueError(f"`include_top` must be True or False. Received: {include_top!r}")
    if data_format not in (None, "channels_last", "channels_first"):  # Keras would accept "Channels_Last"
        raise ValueError(f"`data_format` must be 'channels_last', 'channels_first' or None. Received: {data_format!r}")
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
    """Raises ValueError for an input that no network could take, before any weights are read."""
    if tensor is not None and not keras.backend.is_keras_tensor(tensor):
        kind = type(tensor).__name__  # an array would fill the screen
        raise ValueError(f"`input_tensor` must be a Keras tensor, such as `keras.Input` returns. Received: {kind}")
    argument, shape = ("input_shape", shape) if tensor is None else ("input_tensor", tuple(tensor.shape)[1:])
    if shape is None:
        return
    layout = _layout(data_format)
    if not isinstance(shape, Iterable) or len(shape) != 3:
        received = tuple(shape) if isinstance(shape, Iterable) else repr(shape)
        raise ValueError(f"`{argument}` must have three dimensions, {layout}. Received: {received}")
    if not all(side is None or isinstance(side, numbers.Integral) for side in shape):
        raise ValueError(f"`{argument}` must hold integers or None: {layout}. Received: {tuple(shape)}")
    channels = shape[-1 if data_format == "channels_last" else 0]
    if channels is None or channels < 1:
        raise ValueError(f"`{argument}` must specify the number of channels: {layout}. Received: {tuple(shape)}")
    if weights == "imagenet" and channels != 3:
        raise ValueError(
            f"The input must have 3 channels for `weights='imagenet'`. Received: {argument}={tuple(shape)}"
        )


def _layout(data_format: str) -> str:
    return "(height, width, channels)" if data_format == "channels_last" else "(channels, height, width)"


def _image(
    tensor: keras.KerasTensor | None,
    shape: Sequence[int | None] | None,
    spec: Spec,
    data_format: str,
    pretrained: Pretrained | None,
    include_top: bool,
) -> keras.KerasTensor:
    """Returns the network's input: the given tensor, or a new one of the given shape or else of the default shape."""
    argument = "input_shape" if tensor is None else "input_tensor"
    channels_last = data_format == "channels_last"
    if tensor is not None:
        shape = tuple(tensor.shape)[1:]
    elif shape is None:
        size = STEMS[spec.stem].image_size if include_top else None
        height, width, channels = pretrained.image_shape(size) if pretrained else (size, size, 3)
        shape = (height, width, channels) if channels_last else (channels, height, width)
    *sides, channels = shape if channels_last else (*shape[1:], shape[0])
    kernel = pretrained.tensors.get("stem_conv/kernel") if pretrained else None
    if pretrained and kernel is not None and channels != kernel.shape[2]:
        raise ValueError(
            f"The input must have {kernel.shape[2]} channels for the weights of {pretrained.source}. "
            f"Received: {argument}={tuple(shape)}"
        )
    if any(side is not None and side < spec.total_stride for side in sides):
        raise ValueError(
            f"Input size must be at least {spec.total_stride}x{spec.total_stride}, the network's total stride. "
            f"Received: {argument}={tuple(shape)}, as {_layout(data_format)}"
        )
    return keras.Input(tuple(shape), name="image") if tensor is None else tensor
