"""Layers as XLA computes them best on processors; see `keras_resnet.backend`. On accelerators they are Keras's."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import keras
from jax import numpy as jnp
from jax.experimental.xla_metadata import set_xla_metadata

TINY = 16  # pixels


def batch_norm(*_: Any) -> None:
    """None: XLA makes what kernels it likes of the operations that Keras composes."""


def convolution(layer: keras.layers.Conv2D, x: Any, kernel: Any) -> Any | None:
    """See `keras_resnet.backend.convolution`. On processors, of 1x1 kernels or tiny images, a product of matrices.

    XLA knows no better than to slide a window over them, and the gradients take two to three times as long there.
    """
    if not _on_processor(layer.data_format) or layer.groups > 1:
        return None
    height, width, channels, filters = kernel.shape
    batch, rows, columns, _ = x.shape
    kernel = keras.ops.convert_to_tensor(kernel)
    if (height, width) == (1, 1):
        x = x[:, :: layer.strides[0], :: layer.strides[1]]
        batch, rows, columns, _ = x.shape
    elif layer.padding == "same" and {*layer.strides, *layer.dilation_rate} == {1} and rows * columns <= TINY:
        above, left = (height - 1) // 2, (width - 1) // 2
        x = jnp.pad(x, ((0, 0), (above, height - 1 - above), (left, width - 1 - left), (0, 0)))
        shifts = itertools.product(range(height), range(width))
        x = jnp.concatenate([x[:, down : down + rows, right : right + columns] for down, right in shifts], -1)
    else:
        return None
    product = _product(x.reshape(-1, height * width * channels), kernel.reshape(-1, filters))
    return product.reshape(batch, rows, columns, -1)


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

    The gradient of XLA's takes more than ten times as long there. As in that, the first of equal pixels has it all.
    """
    size, strides = layer.pool_size, layer.strides
    if not _on_processor(layer.data_format) or layer.padding != "valid":
        return None
    rows, columns = (
        (side - length) // stride * stride + 1 for side, length, stride in zip(x.shape[1:3], size, strides, strict=True)
    )
    largest = None
    for top, left in itertools.product(*map(range, size)):
        shifted = x[:, top : top + rows : strides[0], left : left + columns : strides[1]]
        largest = shifted if largest is None else jnp.where(largest >= shifted, largest, shifted)
    return largest


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
