"""Layers in the form that TensorFlow runs fastest; see `keras_resnet.backend`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from . import onednn
from .tensorflow_devices import accelerators


def batch_norm(layer: keras.layers.BatchNormalization, x: Any, axis: int, use_batch_statistics: bool) -> Any | None:
    """See `keras_resnet.backend.batch_norm`."""
    if len(x.shape) != 4 or axis not in (-1, 3) or x.dtype not in (tf.float32, tf.bfloat16, tf.float16):
        return None
    averages = layer.moving_mean, layer.moving_variance
    mean, variance = ([], []) if use_batch_statistics else map(tf.convert_to_tensor, averages)
    normalised, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=tf.convert_to_tensor(layer.gamma),
        offset=tf.convert_to_tensor(layer.beta),
        mean=mean,
        variance=variance,
        epsilon=layer.epsilon,
        is_training=use_batch_statistics,
    )
    if use_batch_statistics:
        # The kernel returns the unbiased estimate of the variance (divided by n - 1); Keras uses the biased one (by n).
        count = tf.cast(tf.size(x) / tf.maximum(tf.shape(x)[-1], 1), tf.float32)
        variance *= tf.maximum(count - 1, 1) / tf.maximum(count, 1)
        for average, value in zip(averages, (mean, variance), strict=True):
            average.assign(average * layer.momentum + value * (1.0 - layer.momentum))
    return normalised


def convolution(layer: keras.layers.Conv2D, x: Any, kernel: Any) -> Any | None:
    """See `keras_resnet.backend.convolution`. On processors, four kinds of convolutions differ from Keras's.

    Images with channels first are transposed, as Keras does for pooling: TensorFlow convolves them by oneDNN only,
    which it does not use where the processor lacks AVX-512 or the like. Strided convolutions whose gradients oneDNN
    computes wrongly become ones without strides. Without strides, the gradients of 1x1 kernels, and of larger ones for
    which oneDNN takes long, are matrix products.
    """
    on_processor = not accelerators()
    transposed = layer.data_format == "channels_first" and on_processor
    buggy = on_processor and onednn.has_gradient_bug(kernel.shape, layer.strides)
    dense = on_processor and layer.strides == layer.dilation_rate == (1, 1) and layer.groups == 1
    pointwise = dense and tuple(kernel.shape[:2]) == (1, 1)
    slow = dense and x.dtype == tf.bfloat16 and onednn.has_slow_gradient(kernel.shape, _output_pixels(layer, x))
    if not (transposed or buggy or pointwise or slow):
        return None
    x = tf.transpose(x, (0, 2, 3, 1)) if transposed else x
    strides = layer.strides
    if buggy:
        x, strides = x[:, :: strides[0], :: strides[1]], 1
    if pointwise:
        x = _pointwise_convolution(x, tf.convert_to_tensor(kernel))
    elif slow:
        x = _convolution_with_product(x, tf.convert_to_tensor(kernel), layer.padding.upper())
    else:
        x = keras.ops.conv(x, kernel, strides, layer.padding, "channels_last", layer.dilation_rate)
    return tf.transpose(x, (0, 3, 1, 2)) if transposed else x


def _output_pixels(layer: keras.layers.Conv2D, x: Any) -> int:
    """Returns how many pixels an output image of a convolution without strides has; 0 if that is not known yet."""
    sides = x.shape[1:3] if layer.data_format == "channels_last" else x.shape[2:]
    lost = [0 if layer.padding == "same" else length - 1 for length in layer.kernel_size]
    return math.prod(max(0, (side or 0) - length) for side, length in zip(sides, lost, strict=True))


@tf.custom_gradient
def _pointwise_convolution(x: Any, kernel: Any) -> tuple[Any, Callable[[Any], tuple[Any, Any]]]:
    """Convolves images (batch, rows, columns, channels) with a kernel (1, 1, channels, filters).

    The forward pass is TensorFlow's own, which at inference is fused with the batch norm and ReLU that follow. After
    folding, it is fused with the addition, too, with padding "SAME", which here is none, but not with "VALID".
    """

    def gradients(upstream: Any) -> tuple[Any, Any]:
        channels, filters = kernel.shape[2:]
        by_pixel = tf.reshape(upstream, (-1, filters))
        x_gradient = tf.matmul(by_pixel, tf.reshape(kernel, (channels, filters)), transpose_b=True)
        kernel_gradient = tf.matmul(tf.reshape(x, (-1, channels)), by_pixel, transpose_a=True)
        return tf.reshape(x_gradient, tf.shape(x)), tf.reshape(kernel_gradient, tf.shape(kernel))

    return tf.nn.conv2d(x, kernel, 1, "SAME"), gradients


def _convolution_with_product(x: Any, kernel: Any, padding: str) -> Any:
    """Convolves images as TensorFlow does, but computes the gradient of the kernel as a product of matrices.

    Args:
        x: images (batch, rows, columns, channels).
        kernel: (height, width, channels, filters).
        padding: "SAME" or "VALID".
    """

    @tf.custom_gradient
    def convolve(x: Any, kernel: Any) -> tuple[Any, Callable[[Any], tuple[Any, Any]]]:
        output = tf.nn.conv2d(x, kernel, 1, padding)

        def gradients(upstream: Any) -> tuple[Any, Any]:
            (height, width, channels, filters), (rows, columns) = kernel.shape, output.shape[1:3]
            x_gradient = tf.nn.conv2d_transpose(upstream, kernel, tf.shape(x), 1, padding)
            zeros = [(length - 1 if padding == "SAME" else 0) for length in (height, width)]
            padded = tf.pad(x, [(0, 0), *((total // 2, total - total // 2) for total in zeros), (0, 0)])
            offsets = itertools.product(range(height), range(width))
            windows = tf.concat([padded[:, i : i + rows, j : j + columns] for i, j in offsets], -1)
            windows = tf.reshape(windows, (-1, height * width * channels))
            kernel_gradient = tf.matmul(windows, tf.reshape(upstream, (-1, filters)), transpose_a=True)
            return x_gradient, tf.reshape(kernel_gradient, kernel.shape)

        return output, gradients

    return convolve(x, kernel)
