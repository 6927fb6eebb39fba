"""Layers in the form that XLA runs fastest on processors; see `keras_resnet.backend`. Accelerators run Keras's own."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import keras
from jax import lax
from jax import numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.experimental.xla_metadata import set_xla_metadata

from ..host import avx512

TINY = 16  # pixels of an output image, at most
SMALL = 9  # weights of a kernel per pair of channels, at most

Pair = tuple[int, int]  # a value for rows and one for columns


def batch_norm(*_: Any) -> None:
    """Returns None: XLA fuses the operations of which Keras composes batch normalisation."""


def convolution(layer: keras.layers.Conv2D, x: Any, kernel: Any) -> Any | None:
    """See `keras_resnet.backend.convolution`. On processors, some convolutions become matrix products.

    These are the ones with 1x1 kernels, with tiny outputs and, on processors with AVX-512, with strides and kernels of
    up to 3x3. XLA would slide a window over the images, which makes gradients take two to three times as long, and
    forty times for tiny images with strides. Without AVX-512, the gradient of a larger kernel is a matrix product.
    """
    if not _on_processor(layer, x) or layer.groups > 1:
        return None
    height, width, channels, filters = kernel.shape
    batch, rows, columns, _ = x.shape
    kernel = keras.ops.convert_to_tensor(kernel)
    if (height, width) == (1, 1):
        x = x[:, :: layer.strides[0], :: layer.strides[1]]
        batch, rows, columns, _ = x.shape
    elif (layer.padding == "valid" or {*layer.strides} == {1}) and {*layer.dilation_rate} == {1}:
        zeros = (0, 0) if layer.padding == "valid" else (height - 1, width - 1)
        padding = tuple((total // 2, total - total // 2) for total in zeros)
        (down, right), strided = layer.strides, {*layer.strides} != {1}
        rows, columns = (rows + zeros[0] - height) // down + 1, (columns + zeros[1] - width) // right + 1
        if not 0 < rows * columns <= TINY and not (strided and avx512() and height * width <= SMALL):
            return None if avx512() else _xla_convolution(x, kernel, layer.strides, padding)
        x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
        extent = down * (rows - 1) + 1, right * (columns - 1) + 1
        offsets = itertools.product(range(height), range(width))
        x = jnp.concatenate([x[:, i : i + extent[0] : down, j : j + extent[1] : right] for i, j in offsets], -1)
    else:
        return None
    product = _product(x.reshape(-1, height * width * channels), kernel.reshape(-1, filters))
    return product.reshape(batch, rows, columns, filters)


@partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _xla_convolution(x: Any, kernel: Any, strides: Pair, padding: tuple[Pair, Pair]) -> Any:
    """Convolves by XLA, but with another gradient of the kernel: XLA's slides a window as large as the images.

    Args:
        x: images (batch, rows, columns, channels).
        kernel: (height, width, channels, filters).
        strides: over rows and over columns.
        padding: numbers of zeros before and after the rows, and the columns; none where a stride is not 1.
    """
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


@partial(_xla_convolution.defjvp, symbolic_zeros=True)
def _xla_convolution_jvp(
    strides: Pair, padding: tuple[Pair, Pair], primals: tuple[Any, Any], tangents: tuple[Any, Any]
) -> tuple[Any, Any]:
    (x, kernel), (dx, dkernel) = primals, tangents
    y = _xla_convolution(x, kernel, strides, padding)
    tangent = jnp.zeros_like(y) if isinstance(dx, SymbolicZero) else _xla_convolution(dx, kernel, strides, padding)
    if not isinstance(dkernel, SymbolicZero):
        (above, _), (left, _) = padding
        tangent += _convolution_by_products(x, dkernel, strides, (above, left), y.shape)
    return y, tangent


def _convolution_by_products(x: Any, kernel: Any, strides: Pair, before: Pair, shape: tuple[int, ...]) -> Any:
    """Computes what `_xla_convolution` does such that the gradient of the kernel is a matrix product.

    Copies of the images, shifted by each column of the kernel, are concatenated along the channels. Their product with
    the kernel is what each of its rows contributes to the output, again along the channels; these are added up, each
    shifted by one row more. So the gradient of the kernel is the product of those copies and copies of the output's
    gradient, shifted by rows. For a 3x3 kernel this takes six times the memory of the images, where the usual copies
    for all nine positions of the kernel would take ten.

    Args:
        x: images (batch, rows, columns, channels).
        kernel: (height, width, channels, filters).
        strides: over rows and over columns.
        before: numbers of zeros to pad before the first row and the first column.
        shape: that of the output.
    """
    height, width, channels, filters = kernel.shape
    _, rows, columns, _ = shape
    exact = jnp.promote_types(x.dtype, jnp.float32)
    shifted = jnp.concatenate(list(_shifted_columns(x.astype(exact), width, strides[1], before[1], columns)), -1)
    output = jnp.zeros(shape, exact)
    for first in range(min(strides[0], height)):  # rows of the kernel whose outputs are one row apart
        lines, taps = shifted[:, first :: strides[0]], kernel[first :: strides[0]].astype(exact)
        matrix = taps.transpose(1, 2, 0, 3).reshape(width * channels, -1)
        product = (lines.reshape(-1, width * channels) @ matrix).reshape(*lines.shape[:3], len(taps) * filters)
        for row, contribution in enumerate(lax.split(product, [filters] * len(taps), -1)):
            low = before[0] - row
            output += _pad(contribution, 1, low, rows - low - lines.shape[1])
    return output.astype(kernel.dtype)


def _shifted_columns(x: Any, width: int, stride: int, before: int, columns: int) -> Iterator[Any]:
    """Yields the columns of the images that each column of a kernel is multiplied with."""
    for column in range(width):
        low = before - column
        yield _pad(x, 2, low, stride * (columns - 1) + 1 - low - x.shape[2])[:, :, ::stride]


def _pad(x: Any, axis: int, low: int, high: int) -> Any:
    """Adds zeros at both ends of an axis, or removes entries where the number is negative."""
    return lax.pad(x, jnp.zeros((), x.dtype), [(low, high, 0) if each == axis else (0, 0, 0) for each in range(x.ndim)])


def _product(x: Any, y: Any) -> Any:
    """Multiplies matrices. XLA has bfloat16 kernels only where the result is float32 and no operand is transposed."""
    return _bfloat16_product(x, y) if x.dtype == y.dtype == jnp.bfloat16 else x @ y


def _float32_sum(x: Any, y: Any) -> Any:
    """Multiplies matrices of bfloat16; the products are added up in float32."""
    return lax.dot(x, y, preferred_element_type=jnp.float32).astype(x.dtype)


# JAX differentiates it forwards only within a gradient, as for a Hessian.
_bfloat16_product = jax.custom_vjp(_float32_sum)


def _bfloat16_product_forward(x: Any, y: Any) -> tuple[Any, tuple[Any, Any]]:
    return _float32_sum(x, y), (x, y)


def _bfloat16_product_backward(operands: tuple[Any, Any], gradient: Any) -> tuple[Any, Any]:
    x, y = operands
    with set_xla_metadata(inlineable="false"):
        y_transposed, x_transposed = _transposed(y), _transposed(x)
    return _float32_sum(gradient, y_transposed), _float32_sum(x_transposed, gradient)


_bfloat16_product.defvjp(_bfloat16_product_forward, _bfloat16_product_backward)


@jax.jit
def _transposed(x: Any) -> Any:
    return x.T + jnp.zeros((), x.dtype)  # without the sum, XLA would not transpose it in memory


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
