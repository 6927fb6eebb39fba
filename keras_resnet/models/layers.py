"""`LayerSet`: the interface through which units, shortcuts and stages make their layers.

There are two implementations: `KerasLayers` makes Keras layers, and `CountingLayers` counts parameters and
multiply-adds by running the same code on shapes alone.
"""

from __future__ import annotations

from typing import Any, Protocol

Tensor = Any  # what the layer set operates on: a Keras tensor or a shape


class LayerSet(Protocol):
    """Makes the layers of a network.

    Each method but `channels` takes the input and the name of a layer, makes the layer, and returns its output.
    """

    def channels(self, x: Tensor) -> int:
        """Returns the number of channels of a tensor."""

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
        """Convolution, padded by `kernel // 2` on every side; `zero` initialises its kernel to zero."""

    def gate(self, x: Tensor, name: str, filters: int, stride: int, bias: float) -> Tensor:
        """sigmoid(W x + b), by a 1x1 convolution whose bias is initialised to `bias`."""

    def batch_norm(self, x: Tensor, name: str, *, zero: bool = False) -> Tensor:
        """Batch normalisation over the channels; `zero` initialises its scale to zero."""

    def relu(self, x: Tensor, name: str) -> Tensor:
        """Rectified linear unit."""

    def add(self, x: Tensor, y: Tensor, name: str) -> Tensor:
        """Sum of two tensors of the same shape."""

    def multiply(self, x: Tensor, y: Tensor, name: str) -> Tensor:
        """Elementwise product of two tensors of the same shape."""

    def scale(self, x: Tensor, name: str, factor: float, offset: float = 0.0) -> Tensor:
        """`factor * x + offset`."""

    def dropout(self, x: Tensor, name: str, rate: float) -> Tensor:
        """Dropout of single values."""

    def drop_path(self, x: Tensor, name: str, rate: float) -> Tensor:
        """Dropout of entire samples; the others are scaled by 1 / (1 - rate)."""

    def max_pool(self, x: Tensor, name: str, size: int, stride: int, *, padding: int = 0, zeros: bool = True) -> Tensor:
        """Max-pooling, after padding by `padding` on every side: with zeros, or else with minus infinity.

        The latter is for paddings of half the size.
        """

    def subsample(self, x: Tensor, name: str, stride: int) -> Tensor:
        """Every `stride`-th position."""

    def zero_padding(self, x: Tensor, name: str, channels: int) -> Tensor:
        """Padding with zeros, after the existing channels, to `channels` channels."""
