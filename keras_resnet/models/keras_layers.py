"""`KerasLayers`: makes a network of stock Keras layers, so that a saved model opens without this package."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
from keras import layers

from .fast_layers import VarianceScaling
from .layers import Tensor


class KerasLayers:
    """Makes the layers of a Keras model; see `LayerSet` for the methods.

    Args:
        data_format: "channels_last" or "channels_first".
        dtype: the layers' dtype policy; None for Keras's global policy.
        bn_momentum: share of the old value that batch norm's moving averages retain.
        bn_epsilon: added to the variance in batch norm.
    """

    def __init__(self, data_format: str, dtype: Any, bn_momentum: float, bn_epsilon: float) -> None:
        self.data_format = data_format
        self.policy = keras.dtype_policies.get(dtype)
        self.channel_axis = -1 if self.data_format == "channels_last" else 1
        self._elementwise = {"dtype": self.policy}
        self._spatial = {"dtype": self.policy, "data_format": self.data_format}
        self._conv = partial(layers.Conv2D, **self._spatial)
        self._batch_norm = partial(
            layers.BatchNormalization,
            axis=self.channel_axis,
            momentum=bn_momentum,
            epsilon=bn_epsilon,
            dtype=self.policy,
        )

    def channels(self, x: Tensor) -> int:
        return x.shape[self.channel_axis]

    def conv(
        self,
        x: Tensor,
        name: str,
        filters: int,
        kernel: int,
        stride: int = 1,
        *,
        zero: bool = False,
        bias: bool = False,
    ) -> Tensor:
        padding = "same"
        if stride > 1 and kernel > 1:  # "same" would pad more on one side, depending on the size of the image
            x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad", **self._spatial)(x)
            padding = "valid"
        initializer = "zeros" if zero else he_normal()
        return self._conv(filters, kernel, stride, padding, use_bias=bias, kernel_initializer=initializer, name=name)(x)

    def gate(self, x: Tensor, name: str, filters: int, stride: int, bias: float) -> Tensor:
        return self._conv(
            filters,
            1,
            stride,
            activation="sigmoid",
            kernel_initializer=he_normal(),
            bias_initializer=keras.initializers.Constant(bias),
            name=name,
        )(x)

    def batch_norm(self, x: Tensor, name: str, *, zero: bool = False) -> Tensor:
        return self._batch_norm(gamma_initializer="zeros" if zero else "ones", name=name)(x)

    def relu(self, x: Tensor, name: str) -> Tensor:
        return layers.ReLU(name=name, **self._elementwise)(x)

    def add(self, x: Tensor, y: Tensor, name: str) -> Tensor:
        return layers.Add(name=name, **self._elementwise)([x, y])

    def multiply(self, x: Tensor, y: Tensor, name: str) -> Tensor:
        return layers.Multiply(name=name, **self._elementwise)([x, y])

    def scale(self, x: Tensor, name: str, factor: float, offset: float = 0.0) -> Tensor:
        return layers.Rescaling(factor, offset, name=name, **self._elementwise)(x)

    def dropout(self, x: Tensor, name: str, rate: float) -> Tensor:
        # With `noise_shape`, Keras draws masks by the layer's own seed on Torch too, so that resumed runs repeat them.
        return layers.Dropout(rate, noise_shape=(None,) * 4, name=name, **self._elementwise)(x)

    def drop_path(self, x: Tensor, name: str, rate: float) -> Tensor:
        return layers.Dropout(rate, noise_shape=(None, 1, 1, 1), name=name, **self._elementwise)(x)

    def max_pool(self, x: Tensor, name: str, size: int, stride: int, *, padding: int = 0, zeros: bool = True) -> Tensor:
        if padding and not zeros:  # "same" pads by half the size, with minus infinity, but only if the stride is 1
            x = layers.MaxPooling2D(size, 1, "same", name=name, **self._spatial)(x)
            return self.subsample(x, f"{name}_subsample", stride)
        if padding:
            x = layers.ZeroPadding2D(padding, name=f"{name}_pad", **self._spatial)(x)
        return layers.MaxPooling2D(size, stride, name=name, **self._spatial)(x)

    def subsample(self, x: Tensor, name: str, stride: int) -> Tensor:
        return layers.AveragePooling2D(1, stride, name=name, **self._spatial)(x)  # the average of one position

    def zero_padding(self, x: Tensor, name: str, channels: int) -> Tensor:
        # With the opposite data format, the stock padding layer treats the channels as a spatial axis.
        missing = (0, channels - self.channels(x))
        if self.data_format == "channels_last":
            padding, opposite = ((0, 0), missing), "channels_first"
        else:
            padding, opposite = (missing, (0, 0)), "channels_last"
        return layers.ZeroPadding2D(padding, data_format=opposite, name=name, **self._elementwise)(x)

    def classifier(self, x: Tensor, classes: int, activation: Any) -> Tensor:
        """Global average pooling, the dense layer "logits", and the activation "predictions" unless it is None.

        They compute in the dtype of the variables, since an average and a softmax in half precision lose digits.
        """
        x = self.global_pool(x, "avg")
        # He's variance for a layer that no ReLU follows: 1 / fan-in.
        initializer = VarianceScaling(1.0, "fan_in", "untruncated_normal")
        precise = {"dtype": self.policy.variable_dtype}
        x = layers.Dense(classes, kernel_initializer=initializer, name="logits", **precise)(x)
        return layers.Activation(activation, name="predictions", **precise)(x) if activation is not None else x

    def global_pool(self, x: Tensor, pooling: str) -> Tensor:
        """Global pooling over all positions: "avg" or "max"."""
        layer = {"avg": layers.GlobalAveragePooling2D, "max": layers.GlobalMaxPooling2D}[pooling]
        return layer(name=f"{pooling}_pool", data_format=self.data_format, dtype=self.policy.variable_dtype)(x)


def he_normal() -> keras.initializers.Initializer:
    """Returns He's initializer: an untruncated normal distribution of variance 2 / fan-out (He et al. 2015, ref. 13).

    Every layer needs a new one, since an initializer returns the same values for the same shape.
    """
    return VarianceScaling(2.0, "fan_out", "untruncated_normal")
