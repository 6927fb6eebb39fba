"""`KerasLayers`: a network's layers, made of stock Keras layers, so that a saved model opens in any Keras."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
from keras import layers

from .fast_layers import VarianceScaling
from .layers import Tensor


class KerasLayers:
    """Makes the layers of one model; see `LayerSet` for what each method returns.

    Args:
        data_format: "channels_last" or "channels_first"; None is Keras's global setting.
        dtype: the layers' dtype policy; None is Keras's global policy.
        bn_momentum: share of the old value in batch norm's moving averages.
        bn_epsilon: added to the variance in batch norm.
    """

    def __init__(
        self,
        data_format: str | None = None,
        dtype: Any = None,
        bn_momentum: float = 0.9,
        bn_epsilon: float = 1e-5,
    ) -> None:
        self.data_format = data_format or keras.config.image_data_format()
        self.policy = keras.dtype_policies.get(dtype)
        self.channel_axis = -1 if self.data_format == "channels_last" else 1
        self._plain = {"dtype": self.policy}
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
        if stride > 1 and kernel > 1:  # "same" would pad a strided convolution on one side only
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
        return layers.ReLU(name=name, **self._plain)(x)

    def add(self, x: Tensor, y: Tensor, name: str) -> Tensor:
        return layers.Add(name=name, **self._plain)([x, y])

    def multiply(self, x: Tensor, y: Tensor, name: str) -> Tensor:
        return layers.Multiply(name=name, **self._plain)([x, y])

    def scale(self, x: Tensor, name: str, factor: float, offset: float = 0.0) -> Tensor:
        return layers.Rescaling(factor, offset, name=name, **self._plain)(x)

    def dropout(self, x: Tensor, name: str, rate: float) -> Tensor:
        # Told the shape of its masks, on Torch too it draws them by its own seed, with which a run goes on.
        return layers.Dropout(rate, noise_shape=(None,) * 4, name=name, **self._plain)(x)

    def drop_path(self, x: Tensor, name: str, rate: float) -> Tensor:
        return layers.Dropout(rate, noise_shape=(None, 1, 1, 1), name=name, **self._plain)(x)

    def max_pool(self, x: Tensor, name: str, size: int, stride: int, *, padding: int = 0) -> Tensor:
        if padding:
            x = layers.ZeroPadding2D(padding, name=f"{name}_pad", **self._spatial)(x)
        return layers.MaxPooling2D(size, stride, name=name, **self._spatial)(x)

    def subsample(self, x: Tensor, name: str, stride: int) -> Tensor:
        return layers.AveragePooling2D(1, stride, name=name, **self._spatial)(x)  # over one position: itself

    def zero_padding(self, x: Tensor, name: str, channels: int, stride: int) -> Tensor:
        if stride > 1:
            x = self.subsample(x, f"{name}_subsample", stride)
        # Told the other data format, the stock padding layer takes the channels for a spatial axis.
        missing = (0, channels - self.channels(x))
        padding, swapped = {
            "channels_last": (((0, 0), missing), "channels_first"),
            "channels_first": ((missing, (0, 0)), "channels_last"),
        }[self.data_format]
        return layers.ZeroPadding2D(padding, data_format=swapped, name=name, **self._plain)(x)

    def classifier(self, x: Tensor, classes: int, activation: Any) -> Tensor:
        """Global average pooling, the dense layer named "logits", and the activation named "predictions", if any.

        All in the dtype of the variables, since an average and a softmax in half precision lose digits.
        """
        x = self.global_pool(x, "avg")
        # The weights' variance is He's for a layer that no ReLU follows.
        initializer = VarianceScaling(1.0, "fan_in", "untruncated_normal")
        precise = {"dtype": self.policy.variable_dtype}
        x = layers.Dense(classes, kernel_initializer=initializer, name="logits", **precise)(x)
        return layers.Activation(activation, name="predictions", **precise)(x) if activation is not None else x

    def global_pool(self, x: Tensor, pooling: str) -> Tensor:
        layer = {"avg": layers.GlobalAveragePooling2D, "max": layers.GlobalMaxPooling2D}[pooling]
        return layer(name=f"{pooling}_pool", data_format=self.data_format, dtype=self.policy.variable_dtype)(x)


def he_normal() -> keras.initializers.Initializer:
    """He's initialisation: an untruncated normal of variance 2 / fan-out (He et al. 2015, reference 13).

    A new one a layer: one initializer object gives every layer of one shape the same values.
    """
    return VarianceScaling(2.0, "fan_out", "untruncated_normal")
