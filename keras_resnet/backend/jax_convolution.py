"""Convolutions of arrays in the forms that XLA computes fastest on processors; `jax_layers.py` chooses among them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
from jax import lax
from jax import numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.experimental.xla_metadata import set_xla_metadata

Pair = tuple[int, int]  # a value for rows and one for columns
Padding = tuple[Pair, ...]  # numbers of zeros before and after the rows, and the columns


@partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def xla_convolution(x: Any, kernel: Any, strides: Pair, padding: Padding) -> Any:
    """Convolves by XLA, but with another gradient of the kernel: XLA's slides a window as large as the images.

    Args:
        x: images (batch, rows, columns, channels).
        kernel: (height, width, channels, filters).
        strides: over rows and over columns.
        padding: numbers of zeros before and after the rows, and the columns; none where a stride is not 1.
    """
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


@partial(xla_convolution.defjvp, symbolic_zeros=True)
def _xla_convolution_jvp(
    strides: Pair, padding: Padding, primals: tuple[Any, Any], tangents: tuple[Any, Any]
) -> tuple[Any, Any]:
    (x, kernel), (dx, dkernel) = primals, tangents
    y = xla_convolution(x, kernel, strides, padding)
    tangent = jnp.zeros_like(y) if isinstance(dx, SymbolicZero) else xla_convolution(dx, kernel, strides, padding)
    if not isinstance(dkernel, SymbolicZero):
        (above, _), (left, _) = padding
        tangent += _convolution_by_products(x, dkernel, strides, (above, left), y.shape)
    return y, tangent


def _convolution_by_products(x: Any, kernel: Any, strides: Pair, before: Pair, shape: tuple[int, ...]) -> Any:
    """Computes what `xla_convolution` does such that the gradient of the kernel is a matrix product.

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
        products = (lines.reshape(-1, width * channels) @ matrix).reshape(*lines.shape[:3], len(taps) * filters)
        for row, contribution in enumerate(lax.split(products, [filters] * len(taps), -1)):
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


def convolution_as_product(x: Any, kernel: Any, strides: Pair, padding: Padding) -> Any:
    """Convolves by a product of matrices; see `xla_convolution`."""
    return _as_product(product, x, kernel, strides, padding)


def _as_product(multiply: Callable[[Any, Any], Any], x: Any, kernel: Any, strides: Pair, padding: Padding) -> Any:
    *window, channels, filters = kernel.shape
    x = jnp.concatenate(_under_kernel(x, window, strides, padding), -1)
    y = multiply(x.reshape(-1, math.prod(window) * channels), kernel.reshape(-1, filters))
    return y.reshape(*x.shape[:3], filters)


def _under_kernel(x: Any, window: Sequence[int], strides: Pair, padding: Padding, axis: int = 1) -> list[Any]:
    """Returns the pixels of images that each position of a kernel is multiplied with.

    Args:
        x: images.
        window: rows and columns of the kernel.
        strides: over rows and over columns.
        padding: numbers of zeros before and after the rows, and the columns.
        axis: the axis of the rows, which that of the columns follows.
    """
    x = jnp.pad(x, [*axis * [(0, 0)], *padding, *(x.ndim - axis - 2) * [(0, 0)]])
    extent = [(x.shape[axis + i] - window[i]) // strides[i] * strides[i] + 1 for i in range(2)]
    pixels = []
    for top, left in itertools.product(*map(range, window)):
        rows = lax.slice_in_dim(x, top, top + extent[0], strides[0], axis)
        pixels.append(lax.slice_in_dim(rows, left, left + extent[1], strides[1], axis + 1))
    return pixels


def product(x: Any, y: Any) -> Any:
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
    return _float32_sum(gradient, _transposed(y, (1, 0))), _float32_sum(_transposed(x, (1, 0)), gradient)


_bfloat16_product.defvjp(_bfloat16_product_forward, _bfloat16_product_backward)


def _transposed(x: Any, axes: tuple[int, ...]) -> Any:
    with set_xla_metadata(inlineable="false"):
        return _transposed_in_memory(x, axes)


@partial(jax.jit, static_argnums=1)
def _transposed_in_memory(x: Any, axes: tuple[int, ...]) -> Any:
    return x.transpose(axes) + jnp.zeros((), x.dtype)  # without the sum, XLA would not transpose it in memory


def _convolution_of_bfloat16(x: Any, kernel: Any, padding: Padding) -> Any:
    return _as_product(_float32_sum, x, kernel, (1, 1), padding)


# Convolves images of bfloat16 without strides by a product of matrices, as are its gradients, of which that of the
# images is a convolution itself. JAX differentiates it forwards as `_bfloat16_product`.
bfloat16_convolution = jax.custom_vjp(_convolution_of_bfloat16, nondiff_argnums=(2,))


def _bfloat16_convolution_forward(x: Any, kernel: Any, padding: Padding) -> tuple[Any, tuple[Any, Any]]:
    return _convolution_of_bfloat16(x, kernel, padding), (x, kernel)


def _bfloat16_convolution_backward(padding: Padding, operands: tuple[Any, Any], gradient: Any) -> tuple[Any, Any]:
    x, kernel = operands
    *window, channels, filters = kernel.shape
    turned = _transposed(kernel[::-1, ::-1], (0, 1, 3, 2))
    opposite = tuple((length - 1 - low, length - 1 - high) for length, (low, high) in zip(window, padding, strict=True))
    pixels = jnp.concatenate(_under_kernel(_transposed(x, (3, 0, 1, 2)), window, (1, 1), padding, axis=2))
    dkernel = _float32_sum(pixels.reshape(math.prod(window) * channels, -1), gradient.reshape(-1, filters))
    return _convolution_of_bfloat16(gradient, turned, opposite), dkernel.reshape(kernel.shape)


bfloat16_convolution.defvjp(_bfloat16_convolution_forward, _bfloat16_convolution_backward)
