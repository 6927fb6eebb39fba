"""Parameters and multiply-adds of a network, counted without building it.

`count` runs the code that builds networks on shapes alone. So it cannot disagree with them, does not import Keras, and
takes milliseconds for a thousand layers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .network import trunk
from .rows import STEMS
from .spec import Spec


class Shape(NamedTuple):
    """Shape of an image or a feature map, which takes the place of the tensor."""

    height: int
    width: int
    channels: int


@dataclass(frozen=True)
class Complexity:
    """Size and cost of a network.

    Attributes:
        parameters: number of trainable parameters: kernels, biases, and batch norm's scales and offsets.
        moving_statistics: number of batch norm's moving means and variances.
        macs: number of multiply-adds of the convolutions and the dense layer for one image: what He et al. 2015 call
            FLOPs.
        layers: number of weighted layers, without projections and gates.
        projections: number of 1x1 convolutions on shortcuts.
        output_shapes: (height, width, channels) of each stage's output.
    """

    parameters: int
    moving_statistics: int
    macs: int
    layers: int
    projections: int
    output_shapes: tuple[Shape, ...]


def count(spec: Spec, classes: int | None = None, image_shape: Sequence[int] | None = None) -> Complexity:
    """Counts the parameters and multiply-adds of a network.

    Args:
        spec: the network's choices.
        classes: number of classes of the dense layer; None for a network without a top.
        image_shape: (height, width, channels); None for three channels and the default size of the stem.

    Returns:
        The counts, equal to those of the Keras model that `keras_resnet.ResNet` builds from the spec.

    Raises:
        ValueError: the image is smaller than the network's total stride.
    """
    size = STEMS[spec.stem].image_size
    image = Shape(*(image_shape or (size, size, 3)))
    if min(image.height, image.width) < spec.total_stride:
        raise ValueError(
            f"Images must be at least {spec.total_stride}x{spec.total_stride} pixels, the network's total stride. "
            f"Received: {image.height}x{image.width}"
        )
    counter = CountingLayers()
    features = trunk(counter, image, spec)
    if classes is not None:
        counter.count_layer("logits", features.channels * classes + classes, features.channels * classes)
    return Complexity(
        parameters=counter.parameters,
        moving_statistics=counter.moving_statistics,
        macs=counter.macs,
        layers=counter.layers,
        projections=counter.projections,
        output_shapes=tuple(counter.stages.values()),
    )


class CountingLayers:
    """A `LayerSet` that operates on shapes and adds up the cost of each layer."""

    def __init__(self) -> None:
        self.parameters = self.moving_statistics = self.macs = self.layers = self.projections = 0
        self.stages: dict[str, Shape] = {}

    def count_layer(self, name: str, parameters: int, macs: int) -> None:
        """Adds a weighted layer to the counts."""
        self.parameters += parameters
        self.macs += macs
        if name.endswith("_shortcut_conv"):
            self.projections += 1
        elif not name.endswith("_gate"):
            self.layers += 1

    def channels(self, x: Shape) -> int:
        return x.channels

    def conv(
        self, x: Shape, name: str, filters: int, kernel: int, stride: int = 1, *, zero: bool = False, bias: bool = False
    ) -> Shape:
        out = Shape(math.ceil(x.height / stride), math.ceil(x.width / stride), filters)
        kernel_size = kernel * kernel * x.channels * filters
        self.count_layer(name, kernel_size + (filters if bias else 0), kernel_size * out.height * out.width)
        if name.startswith("stage") and not name.endswith("_gate"):
            self.stages[name.split("_")[0]] = out
        return out

    def gate(self, x: Shape, name: str, filters: int, stride: int, bias: float) -> Shape:
        return self.conv(x, name, filters, 1, stride, bias=True)

    def batch_norm(self, x: Shape, name: str, *, zero: bool = False) -> Shape:
        self.parameters += 2 * x.channels
        self.moving_statistics += 2 * x.channels
        return x

    def max_pool(self, x: Shape, name: str, size: int, stride: int, *, padding: int = 0, zeros: bool = True) -> Shape:
        height, width = ((side + 2 * padding - size) // stride + 1 for side in (x.height, x.width))
        return Shape(height, width, x.channels)

    def subsample(self, x: Shape, name: str, stride: int) -> Shape:
        return Shape(math.ceil(x.height / stride), math.ceil(x.width / stride), x.channels)

    def zero_padding(self, x: Shape, name: str, channels: int) -> Shape:
        return x._replace(channels=channels)

    def relu(self, x: Shape, name: str) -> Shape:
        return x

    def add(self, x: Shape, y: Shape, name: str) -> Shape:
        if x != y:
            raise ValueError(f"{name}: shapes {x} and {y} differ")
        return x

    multiply = add

    def scale(self, x: Shape, name: str, factor: float, offset: float = 0.0) -> Shape:
        return x

    def dropout(self, x: Shape, name: str, rate: float) -> Shape:
        return x

    drop_path = dropout
