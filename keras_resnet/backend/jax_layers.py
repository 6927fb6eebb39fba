"""Layers as XLA computes them best on processors; see `keras_resnet.backend`. On accelerators they are Keras's."""

from __future__ import annotations

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

TINY = 16  # pixels of an image
SMALL = 9  # numbers of a kernel, for each pair of channels

Pair = tuple[int, int]  # of rows and of columns


def batch_norm(*_: Any) -> None:
    """None: XLA fuses the operations that Keras composes."""


def convolution(layer: keras.layers.Conv2D, x: Any, kernel: Any) -> Any | None:
    """See `keras_resnet.backend.convolution`. On processors a product of matrices for 1x1 kernels, for any that give
    tiny images and, where there is AVX-512, for those of up to 3x3 that have strides.

    XLA knows no better than to slide a window over them, and the gradients take two to three times as long there, and
    for tiny images with strides forty times. The gradient of a larger kernel is a product where there is no AVX-512.
    """
    if not _on_processor(layer.data_format) or layer.groups > 1:
        return None
    height, width, channels, filters = kernel.shape
    batch, rows, columns, _ = x.shape
    kernel = keras.ops.convert_to_tensor(kernel)
    if (height, width) == (1, 1):
        x = x[:, :: layer.strides[0], :: layer.strides[1]]
        batch, rows, columns, _ = x.shape
    elif (layer.padding == "valid" or {*layer.strides} == {1}) and {*layer.dilation_rate} == {1}:
        added = (0, 0) if layer.padding == "valid" else (height - 1, width - 1)
        around = tuple((zeros // 2, zeros - zeros // 2) for zeros in added)
        (down, right), strided = layer.strides, {*layer.strides} != {1}
        rows, columns = (rows + added[0] - height) // down + 1, (columns + added[1] - width) // right + 1
        if not 0 < rows * columns <= TINY and not (strided and avx512() and height * width <= SMALL):
            return None if avx512() else _slid(x, kernel, layer.strides, around)
        x = jnp.pad(x, ((0, 0), *around, (0, 0)))
        ends = down * (rows - 1) + 1, right * (columns - 1) + 1
        corners = itertools.product(range(height), range(width))
        x = jnp.concatenate([x[:, i : i + ends[0] : down, j : j + ends[1] : right] for i, j in corners], -1)
    else:
        return None
    product = _product(x.reshape(-1, height * width * channels), kernel.reshape(-1, filters))
    return product.reshape(batch, rows, columns, filters)


@partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _slid(x: Any, kernel: Any, strides: Pair, padding: tuple[Pair, Pair]) -> Any:
    """A convolution by XLA, which for the gradient of the kernel slides a window as large as the images.

    Args:
        x: images (batch, rows, columns, channels).
        kernel: (height, width, channels, filters).
        strides: of rows and of columns.
        padding: the zeros before and behind the rows, and the columns; none where a stride is not 1.
    """
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


@partial(_slid.defjvp, symbolic_zeros=True)
def _slid_and_tangent(
    strides: Pair, padding: tuple[Pair, Pair], primals: tuple[Any, Any], tangents: tuple[Any, Any]
) -> tuple[Any, Any]:
    (x, kernel), (of_x, of_kernel) = primals, tangents
    y = _slid(x, kernel, strides, padding)
    tangent = jnp.zeros_like(y) if isinstance(of_x, SymbolicZero) else _slid(of_x, kernel, strides, padding)
    if not isinstance(of_kernel, SymbolicZero):
        (above, _), (left, _) = padding
        tangent += _slid_by_products(x, of_kernel, strides, (above, left), y.shape)
    return y, tangent


def _slid_by_products(x: Any, kernel: Any, strides: Pair, before: Pair, shape: tuple[int, ...]) -> Any:
    """What `_slid` gives, of this shape, computed so that the gradient of the kernel is a product of matrices.

    The images lie beside themselves, moved by each column of the kernel. Times the kernel they give what each of its
    rows adds to the output, also beside one another, which is added up a row further each. So the gradient of the
    kernel is those images times the gradients of the output, which lie beside themselves, moved by rows: six times the
    memory of images for a kernel of 3x3, where all nine positions of the kernel would take ten.
    """
    height, width, channels, filters = kernel.shape
    batch, rows, columns, _ = shape
    exact = jnp.promote_types(x.dtype, jnp.float32)
    beside = jnp.concatenate(list(_moved(x.astype(exact), width, strides[1], before[1], columns)), -1)
    output = jnp.zeros(shape, exact)
    for first in range(min(strides[0], height)):  # rows that are one apart in the output
        lines, taps = beside[:, first :: strides[0]], kernel[first :: strides[0]].astype(exact)
        matrix = taps.transpose(1, 2, 0, 3).reshape(width * channels, -1)
        product = (lines.reshape(-1, width * channels) @ matrix).reshape(batch, -1, columns, len(taps) * filters)
        for row, added in enumerate(lax.split(product, [filters] * len(taps), -1)):
            low = before[0] - row
            output += _padded(added, 1, low, rows - low - lines.shape[1])
    return output.astype(kernel.dtype)


def _moved(x: Any, width: int, stride: int, before: int, columns: int) -> Iterator[Any]:
    """The columns of images that each column of a kernel meets."""
    for column in range(width):
        low = before - column
        yield _padded(x, 2, low, stride * (columns - 1) + 1 - low - x.shape[2])[:, :, ::stride]


def _padded(x: Any, axis: int, low: int, high: int) -> Any:
    """With so many zeros more along an axis, or fewer."""
    return lax.pad(x, jnp.zeros((), x.dtype), [(low, high, 0) if each == axis else (0, 0, 0) for each in range(x.ndim)])


def _product(x: Any, y: Any) -> Any:
    """Of two matrices. XLA has kernels for bfloat16 only where it may leave float32, and neither is transposed."""
    return _half_product(x, y) if x.dtype == y.dtype == jnp.bfloat16 else x @ y


@jax.custom_vjp
def _half_product(x: Any, y: Any) -> Any:
    return jax.lax.dot(x, y, preferred_element_type=jnp.float32).astype(x.dtype)


def _half_product_forward(x: Any, y: Any) -> tuple[Any, tuple[Any, Any]]:
    return _half_product(x, y), (x, y)


def _half_product_backward(given: tuple[Any, Any], gradient: Any) -> tuple[Any, Any]:
    x, y = given
    with set_xla_metadata(inlineable="false"):
        across, upright = _transposed(y), _transposed(x)
    return _half_product(gradient, across), _half_product(upright, gradient)


_half_product.defvjp(_half_product_forward, _half_product_backward)


@jax.jit
def _transposed(x: Any) -> Any:
    return x.T + jnp.zeros((), x.dtype)  # or it stays as it lies


def max_pool(layer: keras.layers.MaxPooling2D, x: Any) -> Any | None:
    """See `keras_resnet.backend.max_pool`. On processors, the larger of one shifted image after another.

    The gradient of XLA's takes more than ten times as long there. As in that, the first of equal pixels has it all, and
    what is no number is the largest. Half precision is compared, and its gradients added up, in float32.
    """
    size, strides = layer.pool_size, layer.strides
    if not _on_processor(layer.data_format) or layer.padding != "valid":
        return None
    rows, columns = (
        (side - length) // stride * stride + 1 for side, length, stride in zip(x.shape[1:3], size, strides, strict=True)
    )
    dtype, largest = x.dtype, None
    x = x.astype(jnp.float32) if dtype in (jnp.bfloat16, jnp.float16) else x
    for top, left in itertools.product(*map(range, size)):
        shifted = x[:, top : top + rows : strides[0], left : left + columns : strides[1]]
        largest = shifted if largest is None else _larger(largest, shifted)
    return largest.astype(dtype)


def _larger(x: Any, y: Any) -> Any:
    return jnp.where((x >= y) | jnp.isnan(x), x, y)  # `maximum` shares the gradient of equals


def relu(x: Any) -> Any | None:
    """See `keras_resnet.backend.relu`. On processors, computed once.

    XLA computes what is cheap again in each of its readers, and takes a sum and its ReLU for cheap: the gradient of a
    kernel began with all units before it in its stage, and a step took a time of the depth's square.
    """
    return _relu(x) if jax.default_backend() == "cpu" else None


@jax.custom_jvp
def _relu(x: Any) -> Any:
    with set_xla_metadata(inlineable="false"):
        return _positive(x)


@_relu.defjvp
def _relu_and_tangent(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
    outputs = _relu(*primals)
    return outputs, jnp.where(outputs > 0, tangents[0], jnp.zeros_like(outputs))


def add(x: Any, y: Any) -> Any | None:
    """See `keras_resnet.backend.add`. On processors the gradient is computed once; see `relu`."""
    return _add(x, y) if jax.default_backend() == "cpu" and x.shape == y.shape and x.dtype == y.dtype else None


@jax.custom_jvp
def _add(x: Any, y: Any) -> Any:
    return x + y


@_add.defjvp
def _add_and_tangent(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[Any, Any]:
    with set_xla_metadata(inlineable="false"):
        tangent = _sum(*tangents)
    return _add(*primals), tangent


@jax.jit
def _sum(x: Any, y: Any) -> Any:
    return x + y


@jax.jit
def _positive(x: Any) -> Any:
    return jnp.maximum(x, jnp.zeros((), x.dtype))


def _on_processor(data_format: str) -> bool:
    return jax.default_backend() == "cpu" and data_format == "channels_last"
