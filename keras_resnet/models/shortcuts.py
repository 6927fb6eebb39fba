"""The shortcut of a residual unit: options A, B and C of He et al. 2015, and the skips of He et al. 2016, table 1."""

from __future__ import annotations

from .layers import LayerSet, Tensor
from .rows import SHORTCUTS, SKIPS
from .spec import Spec


def add_shortcut(
    layers: LayerSet,
    x: Tensor,
    preactivated: Tensor,
    residual: Tensor,
    spec: Spec,
    name: str,
    *,
    stride: int,
    normalised: bool,
    drop_rate: float,
) -> Tensor:
    """Adds a unit's shortcut to its residual.

    Args:
        layers: makes the layers.
        x: the unit's input.
        preactivated: the input after the unit's pre-activation, or `x` if it has none; the input of projections (He et
            al. 2016, appendix).
        residual: the output of the unit's convolutions.
        spec: the network's choices.
        name: prefix of the names of the unit's layers.
        stride: the unit's stride.
        normalised: whether a batch norm directly follows the residual's last convolution; a projection then has one
            too.
        drop_rate: share of samples for which stochastic depth drops the residual.

    Returns:
        The sum, of the residual's shape.

    Raises:
        ValueError: zero padding (option A) would have to reduce the number of channels.
    """
    filters = layers.channels(residual)
    if stride != 1 and spec.downsample == "last_unit":
        x, preactivated = subsample(layers, x, preactivated, name, stride)
        stride = 1
    changed = stride != 1 or layers.channels(x) != filters
    skipped = spec.skip_everywhere or not changed
    kind = SHORTCUTS[spec.shortcut].changed if changed else SHORTCUTS[spec.shortcut].same
    if skipped and SKIPS[spec.skip].shortcut == "conv":
        kind = "projection"
    shortcut = x
    if kind == "zero_padding":
        shortcut = pad(layers, x, name, filters, stride, spec.width)
    elif kind == "projection":
        shortcut = project(layers, preactivated, name, filters, stride, normalised=normalised)
    if skipped:
        shortcut, residual = skip(layers, x, shortcut, residual, spec, name, stride)
    if drop_rate:
        residual = layers.drop_path(residual, f"{name}_drop", drop_rate)
    return layers.add(shortcut, residual, f"{name}_add")


def subsample(layers: LayerSet, x: Tensor, preactivated: Tensor, name: str, stride: int) -> tuple[Tensor, Tensor]:
    """Takes every `stride`-th position of a unit's input before and after its pre-activation, which may be the same."""
    subsampled = layers.subsample(x, f"{name}_shortcut_subsample", stride)
    if preactivated is x:
        return subsampled, subsampled
    return subsampled, layers.subsample(preactivated, f"{name}_shortcut_entry_subsample", stride)


def pad(layers: LayerSet, x: Tensor, name: str, filters: int, stride: int, width: float) -> Tensor:
    """Takes every `stride`-th position of `x` and appends zeros up to `filters` channels (option A)."""
    if filters < layers.channels(x):
        raise ValueError(
            f"Option A pads channels and cannot drop any: {name} would go from {layers.channels(x)} to {filters}. "
            f"Use `shortcut='B'` or a larger `width`. Received: width={width!r}"
        )
    if stride > 1:
        x = layers.subsample(x, f"{name}_shortcut_pad_subsample", stride)
    return layers.zero_padding(x, f"{name}_shortcut_pad", filters)


def project(layers: LayerSet, x: Tensor, name: str, filters: int, stride: int, *, normalised: bool) -> Tensor:
    """Projects `x` to `filters` channels by a 1x1 convolution, followed by a batch norm if `normalised`."""
    x = layers.conv(x, f"{name}_shortcut_conv", filters, 1, stride)
    return layers.batch_norm(x, f"{name}_shortcut_bn") if normalised else x


def skip(
    layers: LayerSet, x: Tensor, shortcut: Tensor, residual: Tensor, spec: Spec, name: str, stride: int
) -> tuple[Tensor, Tensor]:
    """Multiplies the shortcut and the residual by the factors in the skip's row of `SKIPS`.

    He et al. 2016, table 1, has the skips "applied to all Residual Units". In units that change the shape, they
    multiply the padded or projected shortcut. A gate has the shape of what it multiplies: there it is a 1x1 convolution
    of the unit's input with the unit's stride and number of output channels.

    Args:
        layers: makes the layers.
        x: the unit's input, from which a gate is computed.
        shortcut: the unit's shortcut, of the residual's shape.
        residual: the output of the unit's convolutions.
        spec: the network's choices.
        name: prefix of the names of the unit's layers.
        stride: stride between `x` and the shortcut.

    Returns:
        The shortcut and the residual, each multiplied by its factor.
    """
    row, gate = SKIPS[spec.skip], None
    if "gate_bias" in row.numbers:
        gate = layers.gate(x, f"{name}_gate", layers.channels(residual), stride, spec.number("gate_bias"))

    def multiply(branch: Tensor, factor: str, prefix: str) -> Tensor:
        match factor:
            case "1" | "conv":  # with "conv", the shortcut is the projection already
                return branch
            case "g":
                return layers.multiply(branch, gate, f"{prefix}_gated")
            case "1 - g":
                complement = layers.scale(gate, f"{name}_gate_complement", -1.0, 1.0)
                return layers.multiply(branch, complement, f"{prefix}_gated")
            case "dropout":
                return layers.dropout(branch, f"{prefix}_dropout", spec.number("skip_dropout"))
            case number:
                return layers.scale(branch, f"{prefix}_scale", spec.number(number))

    shortcut = multiply(shortcut, row.shortcut, f"{name}_shortcut")
    return shortcut, multiply(residual, row.residual, f"{name}_residual")
