"""A residual network from its first convolution to its last activation, and the names of its parts."""

from __future__ import annotations

import re

from .layers import LayerSet, Tensor
from .rows import STEMS
from .spec import Spec
from .units import expand, unit


def trunk(layers: LayerSet, x: Tensor, spec: Spec) -> Tensor:
    """Builds a network without its head (He et al. 2015, table 1).

    Layers are named `stem_*`, `stage1_unit1_conv1`, ..., `head_*`; stage 1 is the papers' conv2_x.

    Args:
        layers: makes the layers.
        x: images.
        spec: the network's choices.

    Returns:
        The last feature map, over which the head averages; its sides are `spec.total_stride` times smaller than the
        images'.
    """
    x = stem(layers, x, spec)
    total_units, position = sum(spec.stage_units), 0  # the position of a unit in the network counts from 1
    for stage, (units, filters) in enumerate(zip(spec.stage_units, spec.stage_filters, strict=True), start=1):
        if stage > 1 and spec.downsample == "max_pool":
            x = layers.max_pool(x, f"stage{stage}_pool", 2, 2)
        for number in range(1, units + 1):
            position += 1
            x = unit(
                layers,
                x,
                spec,
                f"stage{stage}_unit{number}",
                filters=round(filters * spec.width),
                stride=2 if number == strided_unit(spec, stage) else 1,
                activated=position == 1 and STEMS[spec.stem].activated,
                drop_rate=spec.stochastic_depth * position / total_units,  # the linear rule of Huang et al. 2016
            )
    return last_activation(layers, x, spec)


def strided_unit(spec: Spec, stage: int) -> int | None:
    """Returns the number of the unit of a stage that halves the map, or None if none does; both count from 1."""
    if spec.downsample == "stride" and stage > 1:
        return 1
    if spec.downsample == "last_unit" and stage < len(spec.stage_units):
        return spec.stage_units[stage - 1]
    return None


def stem(layers: LayerSet, x: Tensor, spec: Spec) -> Tensor:
    """Builds the layers before the first unit.

    Their activation also serves as the first unit's pre-activation (He et al. 2016, appendix).
    """
    row = STEMS[spec.stem]
    x = layers.conv(x, "stem_conv", spec.stage_filters[0], row.kernel, row.stride, bias=row.bias)
    if row.activated:
        x = layers.relu(layers.batch_norm(x, "stem_bn"), "stem_relu")
    return layers.max_pool(x, "stem_pool", 3, 2, padding=1, zeros=row.zero_padding) if row.pool else x


def last_activation(layers: LayerSet, x: Tensor, spec: Spec) -> Tensor:
    """Builds the activation after the last unit: the pre-activation of a further unit (He et al. 2016, appendix)."""
    before, _, _ = expand(spec.order, len(spec.convolutions))
    for kind, _ in before:
        x = layers.batch_norm(x, "head_bn") if kind == "bn" else layers.relu(x, "head_relu")
    return x


def unit_of(name: str) -> str | None:
    """Returns the unit to which the layer of this name belongs, "stem", "stage1_unit1", ..., or None if to none."""
    match = re.match(r"(stem|stage\d+_unit\d+)_", name)
    return match[1] if match else None


def part(name: str) -> str | None:
    """Returns the part to which the layer of this name belongs, "stem", "stage1", ..., "head", or None if to none."""
    match = re.match(r"(stem|stage\d+|head)_", name)
    return match[1] if match else None
