"""Layers as TensorFlow computes them best; see `keras_resnet.backend`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from .onednn import has_gradient_bug


def batch_norm(layer: keras.layers.BatchNormalization, x: Any, axis: int, of_batch: bool) -> Any | None:
    """See `keras_resnet.backend.batch_norm`."""
    if len(x.shape) != 4 or axis not in (-1, 3) or x.dtype not in (tf.float32, tf.bfloat16, tf.float16):
        return None
    averages = layer.moving_mean, layer.moving_variance
    mean, variance = ([], []) if of_batch else map(tf.convert_to_tensor, averages)
    normalised, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=tf.convert_to_tensor(layer.gamma),
        offset=tf.convert_to_tensor(layer.beta),
        mean=mean,
        variance=variance,
        epsilon=layer.epsilon,
        is_training=of_batch,
    )
    if of_batch:
        # The kernel's variance is what a sample of so many says of all; Keras's is the sample's own.
        count = tf.cast(tf.size(x) / tf.maximum(tf.shape(x)[-1], 1), tf.float32)
        variance *= tf.maximum(count - 1, 1) / tf.maximum(count, 1)
        for average, value in zip(averages, (mean, variance), strict=True):
            average.assign(average * layer.momentum + value * (1.0 - layer.momentum))
    return normalised


def convolution(layer: keras.layers.Conv2D, x: Any, kernel: Any) -> Any | None:
    """See `keras_resnet.backend.convolution`. Keras calls TensorFlow's own, which is sound but for two kinds.

    On processors, TensorFlow convolves channels first by oneDNN alone, and is without it where a processor has not what
    it expects, such as AVX-512; Keras turns images about for its pooling, too. Gradients of 1x1 kernels without strides
    are products of matrices there, which take less time than convolutions.
    """
    on_processor = not _accelerated()
    turned = layer.data_format == "channels_first" and on_processor
    astray = on_processor and has_gradient_bug(kernel.shape, layer.strides)
    multiplied = on_processor and tuple(kernel.shape[:2]) == layer.strides == (1, 1) and layer.groups == 1
    if not (turned or astray or multiplied):
        return None
    x = tf.transpose(x, (0, 2, 3, 1)) if turned else x
    strides = layer.strides
    if astray:
        x, strides = x[:, :: strides[0], :: strides[1]], 1
    if multiplied:
        x = _one_by_one(x, tf.convert_to_tensor(kernel))
    else:
        x = keras.ops.conv(x, kernel, strides, layer.padding, "channels_last", layer.dilation_rate)
    return tf.transpose(x, (0, 3, 1, 2)) if turned else x


@tf.custom_gradient
def _one_by_one(x: Any, kernel: Any) -> tuple[Any, Callable[[Any], tuple[Any, Any]]]:
    """A convolution of images (batch, rows, columns, channels) by a kernel (1, 1, channels, filters).

    Forward it is TensorFlow's, which at inference makes one kernel of it, its batch norm and its ReLU.
    """

    def gradients(upstream: Any) -> tuple[Any, Any]:
        channels, filters = kernel.shape[2:]
        by_pixel = tf.reshape(upstream, (-1, filters))
        of_images = tf.matmul(by_pixel, tf.reshape(kernel, (channels, filters)), transpose_b=True)
        of_kernel = tf.matmul(tf.reshape(x, (-1, channels)), by_pixel, transpose_a=True)
        return tf.reshape(of_images, tf.shape(x)), tf.reshape(of_kernel, tf.shape(kernel))

    return tf.nn.conv2d(x, kernel, 1, "VALID"), gradients


@functools.cache
def _accelerated() -> bool:
    return bool(tf.config.get_visible_devices("GPU"))
