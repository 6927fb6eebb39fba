"""Layers in the form that Torch runs fastest; see `keras_resnet.backend.eager_layers`.

In Keras's shapes, the channels of images come last, and the filters of kernels too; in Torch's shapes they come second
and first. The memory layout may be the same for both ("channels_last"), so that permuted views are enough and nothing
is copied. Images that one of these layers passes to another keep Torch's shape. Keras's own layers copy images in some
cases, and the kernel at every call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from keras import layers
from torch.nn import functional
from torch.nn.modules import module as modules

from .torch_batch_norm import call_scope, normaliser, value  # noqa: F401
from .torch_convolution import convolver
from .torch_images import Call, Images, Value, dtype, is_linear, is_relu, to_images, to_keras  # noqa: F401
from .torch_inference import FoldedWeights, can_fuse, fused, may_follow  # noqa: F401


def can_defer_padding(layer: Any, padding: Any, before: Any) -> bool:
    """Returns whether a layer can itself do the zero padding of the layer before it.

    Args:
        layer: the layer whose only input is padded.
        padding: the layer that pads.
        before: the layer whose output is padded, if any.
    """
    (top, bottom), (left, right) = padding.padding
    if padding.data_format != getattr(layer, "data_format", None) or top != bottom or left != right:
        return False
    if layer.__class__ is layers.MaxPooling2D:  # Torch pads with minus infinity, which is equivalent after a ReLU
        fits = all(2 * side <= size for side, size in zip((top, left), layer.pool_size, strict=True))
        return layer.padding == "valid" and fits and is_relu(before)
    return layer.__class__ is layers.Conv2D and layer.padding == "valid" and is_linear(layer)


def defer_padding(layer: Any) -> Call:
    """Returns the call of a padding layer whose work is left to the layer that follows it."""
    last, ((rows, _), (columns, _)) = layer.data_format == "channels_last", layer.padding

    def call(training: Any, overwritable: list[bool], x: Value) -> Images | None:
        images = to_images(x, last)
        return images and Images(images.tensor, last, (rows, columns))

    return call


def _convolution(layer: Any) -> Call | None:
    last, convolve = layer.data_format == "channels_last", convolver(layer)
    if convolve is None:
        return None

    def call(training: Any, overwritable: list[bool], x: Value) -> Images | None:
        images = to_images(x, last)
        if images is None or layer.lora_enabled or not is_linear(layer):
            return None
        kernel, bias = value(layer.kernel, x.dtype), None if layer.bias is None else value(layer.bias, x.dtype)
        return Images(convolve(images.tensor, kernel, bias, images.padding), last)

    return call


def is_compiling() -> bool:
    """Returns whether `torch.compile` traces this call.

    It would take each of these calls, which layers of many shapes share, for one of dynamic shapes, for which Inductor
    cannot compile the gradients of convolutions.
    """
    return torch.compiler.is_compiling()


def with_hooks(called: Iterable[Any]) -> list[Any]:
    """Returns the layers whose calls run Torch's hooks: their own, or global hooks of all modules."""
    if modules._has_any_global_hook():
        return list(called)
    return [
        layer
        for layer in called
        if layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks
    ]


def _batch_norm(layer: Any) -> Call | None:
    last = layer.axis in (-1, 3)
    if layer.axis not in (-1, 1, 3) or not hasattr(layer, "is_plain") or not layer.is_plain():
        return None
    normalise = normaliser(layer)

    def call(training: Any, overwritable: list[bool], x: Value) -> Images | None:
        images = to_images(x, last)
        if images is None or not layer.fused:
            return None
        return Images(normalise(images.tensor, bool(training and layer.trainable)), last)

    return call


def _relu(layer: Any) -> Call:
    def call(training: Any, overwritable: list[bool], x: Value) -> Value | None:
        if not is_relu(layer):
            return None
        function = torch.relu_ if overwritable[0] else torch.relu
        return Images(function(x.tensor), x.last) if isinstance(x, Images) else function(x)

    return call


def _add(_: Any) -> Call:
    def call(training: Any, overwritable: list[bool], x: Value, y: Value, *more: Value) -> Value | None:
        if more or not isinstance(y, Images):
            return None
        images = to_images(x, y.last)
        if images is None or images.tensor.shape != y.tensor.shape:
            return None
        if overwritable[1]:
            return Images(y.tensor.add_(images.tensor), y.last)
        return Images(images.tensor.add_(y.tensor) if overwritable[0] else images.tensor + y.tensor, y.last)

    return call


def _max_pool(layer: Any) -> Call | None:
    last, same = layer.data_format == "channels_last", layer.padding == "same"
    if same and (max(layer.strides) > 1 or any(size % 2 == 0 for size in layer.pool_size)):
        return None
    padding = [size // 2 if same else 0 for size in layer.pool_size]  # Torch pads with minus infinity, as Keras does

    def call(training: Any, overwritable: list[bool], x: Value) -> Images | None:
        images = to_images(x, last)
        if images is None:
            return None
        zeros = images.padding or padding
        return Images(functional.max_pool2d(images.tensor, layer.pool_size, layer.strides, zeros), last)

    return call


def _average_pool(layer: Any) -> Call | None:
    """Pooling of size 1x1, which only selects positions; Keras computes any other."""
    last = layer.data_format == "channels_last"

    def call(training: Any, overwritable: list[bool], x: Value) -> Images | None:
        images = to_images(x, last)
        return images and Images(images.tensor[:, :, :: layer.strides[0], :: layer.strides[1]], last)

    return call if tuple(layer.pool_size) == (1, 1) else None


def _pad(layer: Any) -> Call:
    """Padding of rows and columns; of channels alone for a "channels_first" layer that is given channels last.

    The latter is how the zero-padding shortcuts of this package's networks are made of Keras's layers.
    """
    first, second = layer.padding

    def rows_and_columns(training: Any, overwritable: list[bool], x: Value) -> Images | None:
        images = to_images(x, last=True)
        return images and Images(functional.pad(images.tensor, (*second, *first)), last=True)

    def channels_alone(training: Any, overwritable: list[bool], x: Value) -> Images | None:
        if isinstance(x, Images) and x.last and first == (0, 0):
            return Images(functional.pad(x.tensor, (0, 0, 0, 0, *second)), last=True)
        return None

    return rows_and_columns if layer.data_format == "channels_last" else channels_alone


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
