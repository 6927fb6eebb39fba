"""The residual unit: reads a row of `ORDERS` from left to right."""

from __future__ import annotations

from collections import Counter

from .layers import LayerSet, Tensor
from .rows import ORDERS
from .shortcuts import add_shortcut
from .spec import Spec

Part = tuple[str, int]  # "conv", "bn" or "relu", and its number among its kind in the unit


def parts(order: str, convolutions: int) -> tuple[list[Part], list[Part], list[Part]]:
    """Spells an order out for a unit of so many convolutions.

    What stands between two convolutions stands once less often than there are convolutions; so
    `parts("original", 1)` is conv1 bn1 + relu1.

    Returns:
        What stands before the first convolution (the pre-activation, if any), what follows up to the addition, and
        what stands behind the addition.
    """
    first, between, last = ORDERS[order].split("conv")
    row = "conv".join([first, *[between] * (convolutions - 1), last]).split()
    seen: Counter[str] = Counter()
    numbered = []
    for kind in row:
        seen[kind] += 1
        numbered.append((kind, seen[kind]))
    addition, lead = row.index("+"), len(first.split())
    return numbered[:lead], numbered[lead:addition], numbered[addition + 1 :]


def unit(
    layers: LayerSet, x: Tensor, spec: Spec, name: str, *, filters: int, stride: int, activated: bool, drop_rate: float
) -> Tensor:
    """One residual unit; a plain one, without the addition, where `spec.shortcut` is None.

    Args:
        layers: what makes the layers.
        x: the unit's input.
        spec: the network's choices.
        name: what the names of the unit's layers begin with.
        filters: the stage's filters.
        stride: 1, or 2 to halve the map.
        activated: `x` went through the pre-activation already. So it is in the first unit of a network, whose
            activation stands right behind the first convolution and before the split (He et al. 2016, appendix).
        drop_rate: share of samples for which stochastic depth drops the residual.
    """
    before, residual, after = parts(spec.order, len(spec.convolutions))
    kernels = [f"{convolution.kernel}x{convolution.kernel}" for convolution in spec.convolutions]
    strided = kernels.index(spec.stride_on) + 1 if spec.stride_on in kernels else 1
    weighted = [part for part in residual if part[0] != "relu"]
    zeroed = weighted[-1] if spec.zero_init_residual else None  # the last batch norm, or convolution, of the residual

    def run(row: list[Part], x: Tensor) -> Tensor:
        for kind, number in row:
            layer, zero = f"{name}_{kind}{number}", (kind, number) == zeroed
            if kind == "conv":
                kernel, widening = spec.convolutions[number - 1]
                x = layers.conv(x, layer, filters * widening, kernel, stride if number == strided else 1, zero=zero)
            elif kind == "bn":
                x = layers.batch_norm(x, layer, zero=zero)
            else:
                x = layers.relu(x, layer)
        return x

    entry = x if activated else run(before, x)
    out = run(residual, entry)
    if spec.shortcut is not None:
        normalised = weighted[-1][0] == "bn"
        out = add_shortcut(layers, x, entry, out, spec, name, stride=stride, normalised=normalised, drop_rate=drop_rate)
    return run(after, out)
