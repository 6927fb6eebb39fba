"""Faster implementations of Keras layers: the same variables and results, by kernels that are faster on the backend.

To other code and in files they are Keras's own layers, so that a saved model opens without this package.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import layers, ops

from .. import backend
from .eager import eager
from .graph import require_model

# The class of the object that `keras.Model(inputs, outputs)` returns, which Keras does not export. Found without
# `__init__`, which would take from the user's first model the name that Keras gives it.
Functional: Any = type(keras.Model.__new__(keras.Model, None, None))


def use_fast_layers(model: keras.Model) -> keras.Model:
    """Switches a model, in place, to the implementations of its layers that are fastest on the backend.

    The networks that this package builds and opens have them already. Those that Keras opens, clones or copies do not.

    Args:
        model: any model, also one with a network in it; layers that are not built yet are left as they are. Its results
            stay the same but for rounding, and so does what is saved of it.

    Returns:
        The model.

    Raises:
        ValueError: the argument is not a model.

    Example:
        >>> copied = keras_resnet.use_fast_layers(keras.models.clone_model(model))
    """
    require_model(model)
    for layer in model._flatten_layers():  # of the model itself, and of the models and layers in it
        if layer.built and (fast_class := FAST_LAYERS.get(type(layer))) is not None:
            object.__setattr__(layer, "__class__", fast_class)
            fast_class.prepare(layer)
        elif backend.eager_layers() is not None and type(layer) is Functional:
            object.__setattr__(layer, "__class__", eager(Functional))  # type: ignore[arg-type]  # for mypy, not a class
    return model


class FastLayer:
    """Base class of the faster layers, each of which inherits from the Keras layer that it replaces, and from it.

    In this order, Python lets a layer of Keras's class become one of the faster class, also in Keras's NNX mode.
    """

    __class__ = property(lambda self: type(self).__bases__[0])  # Keras's class, for code that saves or clones the layer

    def prepare(self) -> None:
        """Prepares the layer's variables. By default, does nothing."""


class BatchNormalization(layers.BatchNormalization, FastLayer):
    """Batch norm in one kernel where the backend has one; Keras composes it of many operations."""

    fused = True  # set to False where devices share their statistics

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        outputs = self.in_one_kernel(inputs, training, self.axis) if mask is None else None
        if outputs is None:
            return layers.BatchNormalization.call(self, inputs, training, mask)
        return ops.cast(outputs, self.compute_dtype)

    def in_one_kernel(self, inputs: Any, training: bool | None, axis: int) -> Any | None:
        """Returns the output for a tensor whose channels are at `axis`, or None if no single kernel can compute it."""
        if not (self.fused and self.is_plain()):
            return None
        return backend.batch_norm(self, inputs, axis, use_batch_statistics=bool(training and self.trainable))

    def is_plain(self) -> bool:
        """Returns whether it is configured such that a single kernel can compute it."""
        # The kernels need statistics in float32.
        single = self.variable_dtype not in ("float16", "bfloat16") and not (self.renorm or self.synchronized)
        return single and self.scale and self.center


class Conv2D(layers.Conv2D, FastLayer):
    """Convolution whose kernel has the backend's own memory layout, and whose images need not be copied to match it.

    With channels first on TensorFlow, Keras adds the bias along the columns if there are as many of them as filters:
    its `add` takes any second summand that is a vector for a bias, and looks for its channels at the end first.
    """

    def call(self, inputs: Any) -> Any:
        if not self.use_bias or self.data_format == "channels_last":
            return layers.Conv2D.call(self, inputs)
        bias = ops.reshape(self.bias, (1, self.filters, 1, 1))
        outputs = ops.add(bias, self.convolution_op(inputs, self.kernel))  # the bias is the first summand
        return outputs if self.activation is None else self.activation(outputs)

    def prepare(self) -> None:
        """Sets the memory layout of the kernel."""
        backend.set_kernel_layout(self._kernel)  # not `kernel`, which is a sum if LoRA is enabled

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        outputs = backend.convolution(self, inputs, kernel)
        return layers.Conv2D.convolution_op(self, inputs, kernel) if outputs is None else outputs


class MaxPooling2D(layers.MaxPooling2D, FastLayer):
    """Max-pooling whose gradient does not search the images for the maxima again."""

    def call(self, inputs: Any) -> Any:
        outputs = backend.max_pool(self, inputs)
        return layers.MaxPooling2D.call(self, inputs) if outputs is None else outputs


class ReLU(layers.ReLU, FastLayer):
    """ReLU that is computed once, however many operations use its output."""

    def call(self, inputs: Any) -> Any:
        plain = self.max_value is None and not self.negative_slope and not self.threshold
        outputs = backend.relu(inputs) if plain else None
        return layers.ReLU.call(self, inputs) if outputs is None else outputs


class Add(layers.Add, FastLayer):
    """Addition whose gradient is computed once, however many operations use it."""

    def call(self, inputs: Any) -> Any:
        outputs = backend.add(*inputs) if len(inputs) == 2 else None
        return layers.Add.call(self, inputs) if outputs is None else outputs


class VarianceScaling(keras.initializers.VarianceScaling, FastLayer):
    """Initializer that draws the same weights as Keras's, without compiling a program for each shape."""

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        weights = None
        if self.is_plain(shape, dtype):
            fan = math.prod(shape) / shape[EXCLUDED_AXIS[self.mode]]
            weights = backend.normal(self.seed, shape, math.sqrt(self.scale / fan))
        return keras.initializers.VarianceScaling.__call__(self, shape, dtype) if weights is None else weights

    def is_plain(self, shape: tuple[int, ...], dtype: Any) -> bool:
        """Returns whether it is configured as in the networks of this package; saved files may hold other settings."""
        normal = self.distribution == "untruncated_normal" and keras.backend.standardize_dtype(dtype) == "float32"
        plain = self.mode in EXCLUDED_AXIS and self.input_axes is None and self.output_axes is None
        return normal and plain and isinstance(self.seed, int) and len(shape) > 1 and 0 not in shape


EXCLUDED_AXIS = {"fan_in": -1, "fan_out": -2}  # the axis of a kernel's shape that is not a factor of the fan


def has_fast_normal() -> bool:
    """Returns whether `VarianceScaling` is faster than Keras's on this backend."""
    return backend.normal(0, (1,), 1.0) is not None


def register(config: Any) -> Any:
    """Replaces Keras's initializer in the config of an object by a faster one of `REGISTERED`, if there is one.

    Args:
        config: the config, as Keras serialises objects. Anything else is returned unchanged.
    """
    if not isinstance(config, dict) or config.get("module") != "keras.initializers":
        return config
    name = f"keras_resnet>{config['class_name']}"
    return {**config, "registered_name": name} if name in REGISTERED else config


REGISTERED = {"keras_resnet>VarianceScaling": VarianceScaling}
FAST_LAYERS = {layer.__bases__[0]: layer for layer in (BatchNormalization, Conv2D, MaxPooling2D, ReLU, Add)}
