"""A residual network from its first convolution to its last activation: stem, stages, and the names of both."""

from __future__ import annotations

import re

from .layers import LayerSet, Tensor
from .rows import STEMS
from .spec import Spec
from .units import parts, unit


def trunk(layers: LayerSet, x: Tensor, spec: Spec) -> Tensor:
    """The network without its head.

    Layers are named `stem_*`, `stage1_unit1_conv1`, ..., `head_*`; stage 1 is the papers' conv2_x.

    Args:
        layers: what makes the layers.
        x: images.
        spec: the network's choices.

    Returns:
        The map that the head averages over, `spec.total_stride` times smaller than the images.
    """
    x = stem(layers, x, spec)
    units, made = sum(spec.stage_units), 0
    for stage, (count, filters) in enumerate(zip(spec.stage_units, spec.stage_filters, strict=True), start=1):
        strided = 1 if stage > 1 else None  # the unit that halves the map
        if strided and spec.downsample == "max_pool":
            x, strided = layers.max_pool(x, f"stage{stage}_pool", 2, 2), None
        if spec.downsample == "last_unit":
            strided = count if stage < len(spec.stage_units) else None
        for number in range(1, count + 1):
            made += 1
            x = unit(
                layers,
                x,
                spec,
                f"stage{stage}_unit{number}",
                filters=round(filters * spec.width),
                stride=2 if number == strided else 1,
                activated=made == 1 and STEMS[spec.stem].activated,
                drop_rate=spec.stochastic_depth * made / units,  # the linear rule of Huang et al. 2016
            )
    return last_activation(layers, x, spec)


def stem(layers: LayerSet, x: Tensor, spec: Spec) -> Tensor:
    """The layers before the first unit. Its activation is also the first unit's pre-activation (2016, appendix)."""
    row = STEMS[spec.stem]
    x = layers.conv(x, "stem_conv", spec.stage_filters[0], row.kernel, row.stride, bias=not row.activated)
    if row.activated:
        x = layers.relu(layers.batch_norm(x, "stem_bn"), "stem_relu")
    return layers.max_pool(x, "stem_pool", 3, 2, padding=1) if row.pool else x


def last_activation(layers: LayerSet, x: Tensor, spec: Spec) -> Tensor:
    """Behind the last unit, the activation that a further unit would begin with (2016, appendix)."""
    before, _, _ = parts(spec.order, len(spec.convolutions))
    for kind, _ in before:
        x = layers.batch_norm(x, "head_bn") if kind == "bn" else layers.relu(x, "head_relu")
    return x


def unit_of(name: str) -> str | None:
    """Which unit a layer of this name belongs to: "stem", "stage1_unit1", ...; None if to none of them."""
    match = re.match(r"(stem|stage\d+_unit\d+)_", name)
    return match and match[1]


def part(name: str) -> str | None:
    """Which part a layer of this name belongs to: "stem", "stage1", ..., "head"; None if to none of them."""
    match = re.match(r"(stem|stage\d+|head)_", name)
    return match and match[1]
