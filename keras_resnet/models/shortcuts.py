"""The shortcut of a residual unit: options A, B and C of He et al. 2015, and the skips of He et al. 2016, table 1."""

from __future__ import annotations

from .layers import LayerSet, Tensor
from .rows import SHORTCUTS, SKIPS
from .spec import Spec


def add_shortcut(
    layers: LayerSet,
    x: Tensor,
    entry: Tensor,
    residual: Tensor,
    spec: Spec,
    name: str,
    *,
    stride: int,
    normalised: bool,
    drop_rate: float,
) -> Tensor:
    """Adds what a unit's shortcut carries to its residual.

    Args:
        layers: what makes the layers.
        x: the unit's input.
        entry: the same behind the unit's pre-activation, if it has one: a projection sees this (2016, appendix).
        residual: what the unit's convolutions made of `entry`.
        spec: the network's choices.
        name: what the names of the unit's layers begin with.
        stride: the unit's stride.
        normalised: a batch norm stands right behind the residual's last convolution; a projection gets one as well.
        drop_rate: share of samples for which stochastic depth drops the residual.
    """
    row, filters = SHORTCUTS[spec.shortcut], layers.channels(residual)
    if stride != 1 and spec.downsample == "last_unit":
        positions = layers.subsample(x, f"{name}_shortcut_subsample", stride)
        entry = positions if entry is x else layers.subsample(entry, f"{name}_shortcut_entry_subsample", stride)
        x, stride = positions, 1
    changed = stride != 1 or layers.channels(x) != filters
    skipped = spec.skip_everywhere or not changed
    option = row.changed if changed else row.same
    if skipped and SKIPS[spec.skip].shortcut == "conv":
        option = "projection"
    if option == "zero_padding":
        if filters < layers.channels(x):
            raise ValueError(
                f"Option A pads channels and cannot drop any: {name} would go from {layers.channels(x)} to {filters}. "
                f"Use `shortcut='B'` or a larger `width`. Received: width={spec.width!r}"
            )
        carried = layers.zero_padding(x, f"{name}_shortcut_pad", filters, stride)
    elif option == "projection":
        carried = project(layers, entry, name, filters, stride, normalised=normalised)
    else:
        carried = x
    if skipped:
        carried, residual = skip(layers, x, carried, residual, spec, name, stride)
    if drop_rate:
        residual = layers.drop_path(residual, f"{name}_drop", drop_rate)
    return layers.add(carried, residual, f"{name}_add")


def project(layers: LayerSet, x: Tensor, name: str, filters: int, stride: int, *, normalised: bool) -> Tensor:
    """A 1x1 convolution to so many channels."""
    x = layers.conv(x, f"{name}_shortcut_conv", filters, 1, stride)
    return layers.batch_norm(x, f"{name}_shortcut_bn") if normalised else x


def skip(
    layers: LayerSet, x: Tensor, carried: Tensor, residual: Tensor, spec: Spec, name: str, stride: int
) -> tuple[Tensor, Tensor]:
    """The shortcut and the residual, each multiplied by what the row of `SKIPS` says.

    "Different types of shortcut connections applied to all Residual Units" (2016, table 1): where the shape changes,
    they work on the padded or projected shortcut, and a gate, which has the shape of what it multiplies, is a 1x1
    convolution of the unit's input with the unit's stride and output channels.

    Args:
        layers: what makes the layers.
        x: the unit's input, which gates see.
        carried: what the shortcut has made of it, of the residual's shape.
        residual: what the unit's convolutions have.
        spec: the network's choices.
        name: what the names of the unit's layers begin with.
        stride: between `x` and `carried`.
    """
    row, gate = SKIPS[spec.skip], None
    if "gate_bias" in row.numbers:
        gate = layers.gate(x, f"{name}_gate", layers.channels(residual), stride, spec.number("gate_bias"))
    times = {
        "1": lambda branch, part: branch,
        "conv": lambda branch, part: branch,  # which is the projection already
        "g": lambda branch, part: layers.multiply(branch, gate, f"{part}_gated"),
        "1 - g": lambda branch, part: layers.multiply(
            branch, layers.scale(gate, f"{name}_gate_complement", -1.0, 1.0), f"{part}_gated"
        ),
        "dropout": lambda branch, part: layers.dropout(branch, f"{part}_dropout", spec.number("skip_dropout")),
        "shortcut_scale": lambda branch, part: layers.scale(branch, f"{part}_scale", spec.number("shortcut_scale")),
        "residual_scale": lambda branch, part: layers.scale(branch, f"{part}_scale", spec.number("residual_scale")),
    }
    return times[row.shortcut](carried, f"{name}_shortcut"), times[row.residual](residual, f"{name}_residual")
