"""The vocabulary in which a network is written.

Units, shortcuts and stages ask a `LayerSet` for their layers and never say what makes them. `KerasLayers` makes Keras
layers; `CountingLayers` counts parameters and multiply-adds by running the same code on shapes alone.
"""

from __future__ import annotations

from typing import Any, Protocol

Tensor = Any  # whatever the layer set works on


class LayerSet(Protocol):
    """Each method takes a tensor and the name of the layer to make, and returns the layer's output."""

    def channels(self, x: Tensor) -> int:
        """Number of channels of a tensor."""

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
        """Convolution, padded by `kernel // 2` on every side; `zero`: its kernel starts at zero."""

    def gate(self, x: Tensor, name: str, filters: int, stride: int, bias: float) -> Tensor:
        """sigmoid(W x + b): a 1x1 convolution, whose bias starts at `bias`."""

    def batch_norm(self, x: Tensor, name: str, *, zero: bool = False) -> Tensor:
        """Batch normalisation over the channels; `zero`: its scale starts at zero."""

    def relu(self, x: Tensor, name: str) -> Tensor:
        """Rectified linear unit."""

    def add(self, x: Tensor, y: Tensor, name: str) -> Tensor:
        """Sum of two tensors of one shape."""

    def multiply(self, x: Tensor, y: Tensor, name: str) -> Tensor:
        """Product, element by element, of two tensors of one shape."""

    def scale(self, x: Tensor, name: str, factor: float, offset: float = 0.0) -> Tensor:
        """`factor * x + offset`."""

    def dropout(self, x: Tensor, name: str, rate: float) -> Tensor:
        """Drops single values."""

    def drop_path(self, x: Tensor, name: str, rate: float) -> Tensor:
        """Drops whole samples and scales the others by 1 / (1 - rate)."""

    def max_pool(self, x: Tensor, name: str, size: int, stride: int, *, padding: int = 0) -> Tensor:
        """Max-pooling, padded by so many zeros on every side."""

    def subsample(self, x: Tensor, name: str, stride: int) -> Tensor:
        """Every `stride`-th position."""

    def zero_padding(self, x: Tensor, name: str, channels: int, stride: int) -> Tensor:
        """Every `stride`-th position, with zeros as further channels: option A's shortcut."""
