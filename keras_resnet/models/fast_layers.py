"""Keras's layers as they run: the same variables and the same numbers, by kernels that the backend is faster with.

What others see of them, and what files hold, are Keras's layers, so that a saved model opens where this package is not.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import layers, ops

from .. import backend
from .eager import eager


def use_fast_layers(model: keras.Model) -> keras.Model:
    """Has the layers of a model run as they run fastest on the backend.

    Args:
        model: any model. It is changed, not in what it computes, but for rounding, nor in what is saved of it.

    Returns:
        The model.
    """
    for layer in model.layers:
        if (faster := FAST_LAYERS.get(type(layer))) is not None:
            object.__setattr__(layer, "__class__", faster)
            faster.prepare(layer)
    if backend.eager_layers() is not None and type(model) is FUNCTIONAL:
        object.__setattr__(model, "__class__", eager(FUNCTIONAL))
    return model


class FastLayer:
    """What all of these have in common."""

    __class__ = property(lambda self: type(self).__bases__[1])  # for whoever writes it down or clones it

    def prepare(self) -> None:
        """Nothing to do."""


class BatchNormalization(FastLayer, layers.BatchNormalization):
    """Batch norm in one kernel where the backend has one; Keras composes it of many."""

    fused = True  # until devices share their statistics

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        found = self.in_one_kernel(inputs, training, self.axis) if mask is None else None
        if found is None:
            return layers.BatchNormalization.call(self, inputs, training, mask)
        return ops.cast(found, self.compute_dtype)

    def in_one_kernel(self, inputs: Any, training: bool | None, axis: int) -> Any | None:
        """What the layer gives for a tensor whose channels are at `axis`; None where it has to be composed."""
        if self.renorm or self.synchronized or not (self.fused and self.scale and self.center):
            return None
        if self.variable_dtype in ("float16", "bfloat16"):  # kernels have statistics in float32
            return None
        return backend.batch_norm(self, inputs, axis, of_batch=bool(training and self.trainable))


class Conv2D(FastLayer, layers.Conv2D):
    """A convolution whose kernel lies in memory as the backend reads it, and whose images are not copied for it."""

    def prepare(self) -> None:
        """Lays out the kernel."""
        backend.set_kernel_layout(self._kernel)  # `kernel` is a sum where LoRA is at work

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        found = backend.convolution(self, inputs, kernel)
        return layers.Conv2D.convolution_op(self, inputs, kernel) if found is None else found


class MaxPooling2D(FastLayer, layers.MaxPooling2D):
    """A max-pooling whose gradient is no search through the images."""

    def call(self, inputs: Any) -> Any:
        found = backend.max_pool(self, inputs)
        return layers.MaxPooling2D.call(self, inputs) if found is None else found


class ReLU(FastLayer, layers.ReLU):
    """A ReLU that is computed once, whoever reads it."""

    def call(self, inputs: Any) -> Any:
        plain = self.max_value is None and not self.negative_slope and not self.threshold
        found = backend.relu(inputs) if plain else None
        return layers.ReLU.call(self, inputs) if found is None else found


class Add(FastLayer, layers.Add):
    """A sum whose gradient is computed once, whoever reads it."""

    def call(self, inputs: Any) -> Any:
        found = backend.add(*inputs) if len(inputs) == 2 else None
        return layers.Add.call(self, inputs) if found is None else found


class VarianceScaling(FastLayer, keras.initializers.VarianceScaling):
    """Draws the weights that Keras would, where that compiles a program for each shape."""

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        drawn = None
        if self.is_plain(shape, dtype):
            fan = math.prod(shape) / shape[FANS[self.mode]]
            drawn = backend.normal(self.seed, shape, math.sqrt(self.scale / fan))
        return keras.initializers.VarianceScaling.__call__(self, shape, dtype) if drawn is None else drawn

    def is_plain(self, shape: tuple[int, ...], dtype: Any) -> bool:
        """Whether it draws a kernel as networks of this package have them; files may hold others."""
        normal = self.distribution == "untruncated_normal" and keras.backend.standardize_dtype(dtype) == "float32"
        plain = self.mode in FANS and self.input_axes is None and self.output_axes is None
        return normal and plain and isinstance(self.seed, int) and len(shape) > 1 and 0 not in shape


FANS = {"fan_in": -1, "fan_out": -2}  # where in a kernel's shape that is which the fan is not made of


def has_fast_normal() -> bool:
    """Whether `VarianceScaling` draws by itself on this backend."""
    return backend.normal(0, (1,), 1.0) is not None


def register(config: Any) -> Any:
    """What is said of an object, under a name of `REGISTERED` if that is an initializer that draws faster."""
    if not isinstance(config, dict) or config.get("module") != "keras.initializers":
        return config
    name = f"keras_resnet>{config['class_name']}"
    return {**config, "registered_name": name} if name in REGISTERED else config


REGISTERED = {"keras_resnet>VarianceScaling": VarianceScaling}
FUNCTIONAL = type(keras.Model(_image := keras.Input((1,)), _image))
FAST_LAYERS = {faster.__bases__[1]: faster for faster in (BatchNormalization, Conv2D, MaxPooling2D, ReLU, Add)}
