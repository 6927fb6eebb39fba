"""Layers in the form that XLA runs fastest on processors; see `keras_resnet.backend`. Accelerators run Keras's own."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import jax
import keras
from jax import numpy as jnp
from jax.experimental.xla_metadata import set_xla_metadata

from ..host import amx, avx512
from .jax_convolution import bfloat16_convolution, convolution_as_product, product, xla_convolution

TINY = 16  # pixels of an output image, at most
SMALL = 9  # weights of a kernel per pair of channels, at most
MANY_CHANNELS, FEW_PIXELS = 256, 196  # of the input, at least, and of an output image, at most: wide convolutions


def batch_norm(*_: Any) -> None:
    """Returns None: XLA fuses the operations of which Keras composes batch normalisation."""


def convolution(layer: keras.layers.Conv2D, x: Any, kernel: Any) -> Any | None:
    """See `keras_resnet.backend.convolution`. On processors, some convolutions become matrix products.

    These are the ones with 1x1 kernels, with tiny outputs and, on processors with AVX-512, with strides and kernels of
    up to 3x3. XLA would slide a window over the images, which makes gradients take two to three times as long, and
    forty times for tiny images with strides. Without AVX-512, the gradient of a larger kernel is a matrix product.
    With AMX, so are wide convolutions of bfloat16, which XLA would compute in float32.
    """
    if not _on_processor(layer, x) or layer.groups > 1:
        return None
    height, width, channels, filters = kernel.shape
    kernel = keras.ops.convert_to_tensor(kernel)
    if (height, width) == (1, 1):
        x = x[:, :: layer.strides[0], :: layer.strides[1]]
        return product(x.reshape(-1, channels), kernel.reshape(-1, filters)).reshape(*x.shape[:3], filters)
    strided = {*layer.strides} != {1}
    if (strided and layer.padding == "same") or {*layer.dilation_rate} != {1}:
        return None
    zeros = (0, 0) if layer.padding == "valid" else (height - 1, width - 1)
    padding = tuple((total // 2, total - total // 2) for total in zeros)
    (down, right), (rows, columns) = layer.strides, x.shape[1:3]
    pixels = ((rows + zeros[0] - height) // down + 1) * ((columns + zeros[1] - width) // right + 1)
    wide = channels >= MANY_CHANNELS and 0 < pixels <= FEW_PIXELS
    if wide and not strided and amx() and x.dtype == kernel.dtype == jnp.bfloat16:
        return bfloat16_convolution(x, kernel, padding)
    if 0 < pixels <= TINY or (strided and avx512() and height * width <= SMALL):
        return convolution_as_product(x, kernel, layer.strides, padding)
    return None if avx512() else xla_convolution(x, kernel, layer.strides, padding)


def max_pool(layer: keras.layers.MaxPooling2D, x: Any) -> Any | None:
    """See `keras_resnet.backend.max_pool`. On processors, the maximum of shifted images, one after another.

    The gradient of XLA's max-pooling takes more than ten times as long there. As in XLA's, the first of equal pixels
    gets all of the gradient, and NaN counts as the largest. Half-precision images are compared, and their gradients
    added up, in float32.
    """
    size, strides = layer.pool_size, layer.strides
    if not _on_processor(layer, x):
        return None
    if layer.padding == "same":
        if max(strides) > 1:
            return None
        pads = [((length - 1) // 2, length // 2) for length in size]
        x = jnp.pad(x, ((0, 0), *pads, (0, 0)), constant_values=-jnp.inf)
    rows, columns = (
        (side - length) // stride * stride + 1 for side, length, stride in zip(x.shape[1:3], size, strides, strict=True)
    )
    dtype = x.dtype
    x = x.astype(jnp.float32) if dtype in (jnp.bfloat16, jnp.float16) else x
    shifted = (
        x[:, top : top + rows : strides[0], left : left + columns : strides[1]]
        for top, left in itertools.product(*map(range, size))
    )
    return functools.reduce(_larger, shifted).astype(dtype)


def _larger(x: Any, y: Any) -> Any:
    return jnp.where((x >= y) | jnp.isnan(x), x, y)  # `maximum` would divide the gradient between equal pixels


def relu(x: Any) -> Any | None:
    """See `keras_resnet.backend.relu`. On processors, the output is computed only once.

    XLA computes cheap values again in each operation that reads them, and takes a sum and its ReLU for cheap: the
    gradient of a kernel would recompute all earlier units of its stage, and a step take quadratic time in the depth.
    """
    return _relu(x) if jax.default_backend() == "cpu" else None


@jax.custom_jvp
def _relu(x: Any) -> Any:
    with set_xla_metadata(inlineable="false"):
        return _positive(x)


@_relu.defjvp
def _relu_jvp(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
    outputs = _relu(*primals)
    return outputs, jnp.where(outputs > 0, tangents[0], jnp.zeros_like(outputs))


def add(x: Any, y: Any) -> Any | None:
    """See `keras_resnet.backend.add`. On processors, the gradient is computed only once, as in `relu`."""
    return _add(x, y) if jax.default_backend() == "cpu" and x.shape == y.shape and x.dtype == y.dtype else None


@jax.custom_jvp
def _add(x: Any, y: Any) -> Any:
    return x + y


@_add.defjvp
def _add_jvp(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[Any, Any]:
    with set_xla_metadata(inlineable="false"):
        tangent = _sum(*tangents)
    return _add(*primals), tangent


@jax.jit
def _sum(x: Any, y: Any) -> Any:
    return x + y


@jax.jit
def _positive(x: Any) -> Any:
    return jnp.maximum(x, jnp.zeros((), x.dtype))


def _on_processor(layer: Any, x: Any) -> bool:
    """Returns whether a processor computes a layer of images (batch, rows, columns, channels) of known size.

    The sizes are symbols in a program that `jax.export` makes for images of any size.
    """
    known = all(isinstance(side, int) for side in x.shape[1:3])
    return jax.default_backend() == "cpu" and layer.data_format == "channels_last" and known
