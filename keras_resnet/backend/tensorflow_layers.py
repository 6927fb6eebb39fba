"""Layers in the form that TensorFlow runs fastest; see `keras_resnet.backend`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from .onednn import has_gradient_bug
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
    """See `keras_resnet.backend.convolution`. On processors, three kinds of convolutions differ from Keras's.

    Images with channels first are transposed, as Keras does for pooling: TensorFlow convolves them by oneDNN only,
    which it does not use where the processor lacks AVX-512 or the like. Strided convolutions whose gradients oneDNN
    computes wrongly become ones without strides. The gradients of 1x1 kernels without strides are matrix products,
    which take less time than convolutions.
    """
    on_processor = not accelerators()
    transposed = layer.data_format == "channels_first" and on_processor
    buggy = on_processor and has_gradient_bug(kernel.shape, layer.strides)
    pointwise = on_processor and tuple(kernel.shape[:2]) == layer.strides == (1, 1) and layer.groups == 1
    if not (transposed or buggy or pointwise):
        return None
    x = tf.transpose(x, (0, 2, 3, 1)) if transposed else x
    strides = layer.strides
    if buggy:
        x, strides = x[:, :: strides[0], :: strides[1]], 1
    if pointwise:
        x = _pointwise_convolution(x, tf.convert_to_tensor(kernel))
    else:
        x = keras.ops.conv(x, kernel, strides, layer.padding, "channels_last", layer.dilation_rate)
    return tf.transpose(x, (0, 3, 1, 2)) if transposed else x


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
