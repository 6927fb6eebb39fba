"""Layers as Torch computes them best; see `keras_resnet.backend.eager_layers`.

Keras's images have their channels last and its kernels their filters; Torch's have them second and first, but may lie
in memory as Keras's do ("channels_last"). So nothing has to be copied for it, and what one of these layers hands to
another stays as Torch sees it. Keras copies images for some layers, and a kernel at every call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import keras
import torch
from keras import layers
from torch.nn import functional
from torch.nn.modules import module as modules

from .onednn import has_gradient_bug
from .torch_batch_norm import together, value  # noqa: F401

Pair = tuple[int, int]


@dataclass(slots=True)
class Images:
    """Images between two of these layers.

    Attributes:
        tensor: (batch, channels, rows, columns).
        last: whether Keras has the channels last.
        around: rows above and below, and columns on both sides, that the next layer pads.
    """

    tensor: torch.Tensor
    last: bool
    around: Pair = (0, 0)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the tensor."""
        return self.tensor.dtype


Value = Images | torch.Tensor
Call = Callable[
    ..., Value | None
]  # of what a layer takes, `training` and `owned`, see `keras_resnet.backend.eager_layers`


def whole(x: Value) -> torch.Tensor:
    """A tensor as Keras sees it."""
    if not isinstance(x, Images):
        return x
    (rows, columns), tensor = x.around, x.tensor
    if rows or columns:
        tensor = functional.pad(tensor, (columns, columns, rows, rows))
    return tensor.permute(0, 2, 3, 1) if x.last else tensor


def seen(x: Value, last: bool) -> Images | None:
    """A tensor as Torch sees it; None if it is no images."""
    if isinstance(x, Images):
        return x if x.last == last else None
    if x.ndim != 4:
        return None
    return Images(x.permute(0, 3, 1, 2) if last else x, last)


def pads(layer: Any, padding: Any, before: Any) -> bool:
    """Whether a layer can pad its images itself, with zeros, as another does before it.

    Args:
        layer: that takes what is padded, and takes nothing else.
        padding: the layer that pads.
        before: the layer that gives what it pads, if a layer does.
    """
    (top, bottom), (left, right) = padding.padding
    if padding.data_format != getattr(layer, "data_format", None) or top != bottom or left != right:
        return False
    if layer.__class__ is layers.MaxPooling2D:  # which pads with what is less than all; nothing is less than zero there
        fits = all(2 * side <= size for side, size in zip((top, left), layer.pool_size, strict=True))
        return layer.padding == "valid" and fits and is_relu(before)
    return layer.__class__ is layers.Conv2D and layer.padding == "valid" and is_linear(layer)


def pad_later(layer: Any) -> Call:
    """The call of a layer whose padding is left to the layer that takes what it gives."""
    last, ((rows, _), (columns, _)) = layer.data_format == "channels_last", layer.padding

    def call(x: Value, *, training: Any, owned: list[bool]) -> Images | None:
        images = seen(x, last)
        return images and Images(images.tensor, last, (rows, columns))

    return call


def dtype(name: str) -> torch.dtype:
    """Keras's names are Torch's."""
    return getattr(torch, name)


def is_relu(layer: Any) -> bool:
    """Whether a layer is a ReLU and nothing more."""
    if isinstance(layer, layers.Activation):
        return layer.activation is keras.activations.relu
    return isinstance(layer, layers.ReLU) and (layer.max_value, layer.negative_slope, layer.threshold) == (None, 0, 0)


def is_linear(layer: Any) -> bool:
    """Whether no activation is part of a layer."""
    return getattr(layer, "activation", keras.activations.linear) is keras.activations.linear


def padding(layer: layers.Conv2D) -> Pair | None:
    """The pixels on each side that a convolution pads; None if they are more on one side."""
    spans = zip(layer.kernel_size, layer.dilation_rate, strict=True)
    more = [(size - 1) * rate if layer.padding == "same" else 0 for size, rate in spans]
    if any(pixels % 2 or (pixels and max(layer.strides) > 1) for pixels in more):
        return None
    return more[0] // 2, more[1] // 2


def _convolution(layer: Any) -> Call | None:
    last, around = layer.data_format == "channels_last", padding(layer)

    def call(x: Value, *, training: Any, owned: list[bool]) -> Images | None:
        images = seen(x, last)
        if images is None or layer.lora_enabled or not is_linear(layer):
            return None
        kernel, bias = value(layer.kernel, x.dtype), None if layer.bias is None else value(layer.bias, x.dtype)
        found = convolve(layer, images.tensor, kernel, bias, images.around if any(images.around) else around)
        return Images(found, last)

    return None if around is None else call


def convolve(layer: layers.Conv2D, x: torch.Tensor, kernel: torch.Tensor, bias: Any, around: Pair) -> torch.Tensor:
    """A layer's convolution of images as Torch has them and a kernel as Keras has it, padded by so many pixels."""
    strides = layer.strides
    if x.device.type == "cpu" and has_gradient_bug(kernel.shape, strides) and not any(around):
        x, strides = x[:, :, :: strides[0], :: strides[1]], (1, 1)
    kernel = kernel.permute(3, 2, 0, 1)
    return functional.conv2d(x, kernel, bias, strides, around, layer.dilation_rate, layer.groups)


def watched(called: Iterable[Any]) -> list[Any]:
    """Those of a model's layers around which Torch calls hooks: of their own, or of all modules."""
    if modules._has_any_global_hook():
        return list(called)
    return [
        layer
        for layer in called
        if layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks
    ]


def _batch_norm(layer: Any) -> Call | None:
    fused, last, known = getattr(layer, "in_one_kernel", None), layer.axis in (-1, 3), layer.axis in (-1, 1, 3)

    def call(x: Value, *, training: Any, owned: list[bool]) -> Images | None:
        images = seen(x, last)
        found = None if images is None else fused(images.tensor, training, axis=1)
        return None if found is None else Images(found, last)

    return call if fused and known else None


def _relu(layer: Any) -> Call:
    def call(x: Value, *, training: Any, owned: list[bool]) -> Value | None:
        if not is_relu(layer):
            return None
        function = torch.relu_ if owned[0] else torch.relu
        return Images(function(x.tensor), x.last) if isinstance(x, Images) else function(x)

    return call


def _add(_: Any) -> Call:
    def call(x: Value, y: Value, *more: Value, training: Any, owned: list[bool]) -> Value | None:
        if more or not isinstance(y, Images):
            return None
        images = seen(x, y.last)
        if images is None or images.tensor.shape != y.tensor.shape:
            return None
        if owned[1]:
            return Images(y.tensor.add_(images.tensor), y.last)
        return Images(images.tensor.add_(y.tensor) if owned[0] else images.tensor + y.tensor, y.last)

    return call


def _max_pool(layer: Any) -> Call | None:
    last = layer.data_format == "channels_last"

    def call(x: Value, *, training: Any, owned: list[bool]) -> Images | None:
        images = seen(x, last)
        if images is None:
            return None
        return Images(functional.max_pool2d(images.tensor, layer.pool_size, layer.strides, images.around), last)

    return call if layer.padding == "valid" else None


def _average_pool(layer: Any) -> Call | None:
    """Over one position, which is a choice of positions; Keras computes others."""
    last = layer.data_format == "channels_last"

    def call(x: Value, *, training: Any, owned: list[bool]) -> Images | None:
        images = seen(x, last)
        return images and Images(images.tensor[:, :, :: layer.strides[0], :: layer.strides[1]], last)

    return call if tuple(layer.pool_size) == (1, 1) else None


def _pad(layer: Any) -> Call:
    """Of rows and columns, or, where it was told the other order of dimensions, of the last two that there are."""
    first, second = layer.padding

    def rows_and_columns(x: Value, *, training: Any, owned: list[bool]) -> Images | None:
        images = seen(x, last=True)
        return images and Images(functional.pad(images.tensor, (*second, *first)), last=True)

    def the_last_two(x: Value, *, training: Any, owned: list[bool]) -> Images | None:
        if isinstance(x, Images) and x.last and first == (0, 0):  # the last is the channels'
            return Images(functional.pad(x.tensor, (0, 0, 0, 0, *second)), last=True)
        return None

    return rows_and_columns if layer.data_format == "channels_last" else the_last_two


CALLS: dict[type, Callable[[Any], Call | None]] = {
    layers.Conv2D: _convolution,
    layers.BatchNormalization: _batch_norm,
    layers.ReLU: _relu,
    layers.Activation: _relu,
    layers.Add: _add,
    layers.MaxPooling2D: _max_pool,
    layers.AveragePooling2D: _average_pool,
    layers.ZeroPadding2D: _pad,
}
