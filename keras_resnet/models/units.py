"""The residual unit, built by reading a row of `ORDERS` from left to right."""

from __future__ import annotations

from collections import Counter

from .layers import LayerSet, Tensor
from .rows import ORDERS
from .shortcuts import add_shortcut
from .spec import Spec

NumberedLayer = tuple[str, int]  # its kind, "conv", "bn" or "relu", and its number among the unit's layers of that kind


def expand(order: str, convolutions: int) -> tuple[list[NumberedLayer], list[NumberedLayer], list[NumberedLayer]]:
    """Expands an order, which is written for two convolutions, for a unit of any number of convolutions.

    The layers between the two convolutions are repeated, or left out, as often as needed: `expand("original", 1)`
    represents conv1 bn1 + relu1.

    Returns:
        The layers before the first convolution (the pre-activation, if any), those from there to the addition (the
        residual), and those after the addition.
    """
    first, between, last = ORDERS[order].split("conv")
    row = "conv".join([first, *[between] * (convolutions - 1), last]).split()
    counts: Counter[str] = Counter()
    numbered = []
    for kind in row:
        counts[kind] += 1
        numbered.append((kind, counts[kind]))
    addition, lead = row.index("+"), len(first.split())
    return numbered[:lead], numbered[lead:addition], numbered[addition + 1 :]


def unit(
    layers: LayerSet, x: Tensor, spec: Spec, name: str, *, filters: int, stride: int, activated: bool, drop_rate: float
) -> Tensor:
    """Builds a residual unit (He et al. 2016, figure 4); without the addition, a plain one, if `spec.shortcut` is None.

    Args:
        layers: makes the layers.
        x: the unit's input.
        spec: the network's choices.
        name: prefix of the names of the unit's layers, such as "stage1_unit1".
        filters: the stage's filters.
        stride: 1, or 2 to halve the map.
        activated: whether `x` has passed the pre-activation already. So it has in the first unit of a network, unless
            the stem has no activation: the unit's pre-activation directly follows the network's first convolution,
            before the split into shortcut and residual (He et al. 2016, appendix).
        drop_rate: share of samples for which stochastic depth drops the residual.

    Returns:
        The unit's output.
    """
    before, residual, after = expand(spec.order, len(spec.convolutions))
    kernels = [f"{convolution.kernel}x{convolution.kernel}" for convolution in spec.convolutions]
    strided = kernels.index(spec.stride_on) + 1 if spec.stride_on in kernels else 1
    weighted = [layer for layer in residual if layer[0] != "relu"]
    zeroed = weighted[-1] if spec.zero_init_residual else None  # the last batch norm, or convolution, of the residual

    def run(row: list[NumberedLayer], x: Tensor) -> Tensor:
        for kind, number in row:
            layer, zero = f"{name}_{kind}{number}", (kind, number) == zeroed
            if kind == "conv":
                kernel, expansion = spec.convolutions[number - 1]
                x = layers.conv(x, layer, filters * expansion, kernel, stride if number == strided else 1, zero=zero)
            elif kind == "bn":
                x = layers.batch_norm(x, layer, zero=zero)
            else:
                x = layers.relu(x, layer)
        return x

    preactivated = x if activated else run(before, x)
    out = run(residual, preactivated)
    if spec.shortcut is not None:
        normalised = weighted[-1][0] == "bn"
        out = add_shortcut(
            layers, x, preactivated, out, spec, name, stride=stride, normalised=normalised, drop_rate=drop_rate
        )
    return run(after, out)
