"""Images as layers pass them to one another on Torch, and what these layers are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import torch
from keras import layers
from torch.nn import functional

from .torch_convolution import Pair


@dataclass(slots=True)
class Images:
    """Images that one layer passes to another, in Torch's shape.

    Attributes:
        tensor: (batch, channels, rows, columns).
        last: whether the channels come last in Keras's shape.
        padding: numbers of zeros that the next layer has to pad: above and below, and on the left and right; None if it
            pads as usual.
    """

    tensor: torch.Tensor
    last: bool
    padding: Pair | None = None

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the tensor."""
        return self.tensor.dtype


Value = Images | torch.Tensor
Call = Callable[..., Value | None]  # with the arguments that `keras_resnet.backend.eager_layers` says


def to_keras(x: Value) -> torch.Tensor:
    """Returns a tensor in Keras's shape, with all of its padding."""
    if not isinstance(x, Images):
        return x
    tensor = x.tensor
    if x.padding is not None:
        rows, columns = x.padding
        tensor = functional.pad(tensor, (columns, columns, rows, rows))
    return tensor.permute(0, 2, 3, 1) if x.last else tensor


def to_images(x: Value, last: bool) -> Images | None:
    """Returns a tensor in Torch's shape; None if it is not images, or not with channels where `last` says."""
    if isinstance(x, Images):
        return x if x.last == last else None
    if x.ndim != 4:
        return None
    return Images(x.permute(0, 3, 1, 2) if last else x, last)


def dtype(name: str) -> torch.dtype:
    """Returns the dtype of a name in Keras, which is the same in Torch."""
    return getattr(torch, name)


def is_relu(layer: Any) -> bool:
    """Returns whether a layer is a plain ReLU."""
    if isinstance(layer, layers.Activation):
        return layer.activation is keras.activations.relu
    return isinstance(layer, layers.ReLU) and (layer.max_value, layer.negative_slope, layer.threshold) == (None, 0, 0)


def is_linear(layer: Any) -> bool:
    """Returns whether a layer has no activation, or a linear one."""
    return getattr(layer, "activation", keras.activations.linear) is keras.activations.linear
