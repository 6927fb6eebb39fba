"""The networks for CIFAR: three stages of n units, with 16, 32 and 64 filters (He et al. 2015, section 4.2).

With units of k convolutions they have 3kn + 2 weighted layers: 6n+2 of basic units, 9n+2 of bottleneck units, 3n+2 of
one-layer units. Basic nets take option A, bottleneck nets option B, as both papers do.
"""

from __future__ import annotations

import numbers
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .architectures import PLAIN, V2, Architecture, architecture
from .rows import UNITS
from .spec import Spec

if TYPE_CHECKING:
    import keras


def made_of(depth: int, unit: str) -> bool:
    """Whether units of a kind make up a CIFAR network of so many weighted layers."""
    n, left = divmod(depth - 2, 3 * len(UNITS[unit]))
    return n >= 1 and not left


def cifar_spec(depth: int, unit: str = "basic", **choices: Any) -> Spec:
    """The CIFAR network of so many weighted layers; with `stage_units` among the choices, of as many as those make.

    Raises:
        ValueError: a depth that units of this kind do not make up; the message names the nearest that they do.
    """
    defaults = {"stage_filters": (16, 32, 64), "shortcut": "B" if unit == "bottleneck" else "A", "stem": "cifar"}
    if "stage_units" in choices:
        return Spec(unit=unit, **{**defaults, **choices})
    layers = 3 * len(UNITS.get(unit, UNITS["basic"]))  # an unknown unit is for `Spec` to refuse
    n, left = divmod(int(depth) - 2, layers) if isinstance(depth, numbers.Integral) else (0, 1)
    if left or n < 1:
        below = max(n, 1) * layers + 2
        valid = f"{below} and {below + layers}" if n >= 1 else f"{below}"
        others = [repr(other) for other in UNITS if isinstance(depth, numbers.Integral) and made_of(depth, other)]
        raise ValueError(
            f"A CIFAR network of {unit} units has {layers}n+2 layers. Received: depth={depth!r}; nearest: {valid}"
            + (f", or {depth} with unit={' or '.join(others)}" if others else "")
        )
    return Spec(stage_units=(n, n, n), unit=unit, **{**defaults, **choices})


def cifar_net(
    name: str, depth: int, unit: str = "basic", *, parameters: str | None = None, **choices: Any
) -> Architecture:
    """A CIFAR network of any valid depth, under a name."""
    spec = cifar_spec(depth, unit, **choices)

    def respec(**changes: Any) -> Spec:
        """The same depth, also where the unit changes."""
        if changes.get("unit", unit) == unit:
            return replace(spec, **changes)
        return cifar_spec(depth, **{**choices, **changes})

    paper = "He et al. 2016" if "order" in choices or unit == "bottleneck" else "He et al. 2015, section 4.2"
    summary = f"{depth} weighted layers, {unit} units, for 32x32 images ({paper})."
    published = {"parameters": parameters} if parameters else {}
    return architecture(name, spec, classes=10, summary=summary, published=published, respec=respec)


ResNet20 = cifar_net("ResNet20", 20, parameters="0.27M")
ResNet32 = cifar_net("ResNet32", 32, parameters="0.46M")
ResNet44 = cifar_net("ResNet44", 44, parameters="0.66M")
ResNet56 = cifar_net("ResNet56", 56, parameters="0.85M")
ResNet110 = cifar_net("ResNet110", 110, parameters="1.7M")
ResNet1202 = cifar_net("ResNet1202", 1202, parameters="19.4M")
ResNet164 = cifar_net("ResNet164", 164, "bottleneck")
ResNet1001 = cifar_net("ResNet1001", 1001, "bottleneck")

ResNet20V2 = cifar_net("ResNet20V2", 20, **V2)
ResNet32V2 = cifar_net("ResNet32V2", 32, **V2)
ResNet44V2 = cifar_net("ResNet44V2", 44, **V2)
ResNet56V2 = cifar_net("ResNet56V2", 56, **V2)
ResNet110V2 = cifar_net("ResNet110V2", 110, **V2)
ResNet1202V2 = cifar_net("ResNet1202V2", 1202, **V2)
ResNet164V2 = cifar_net("ResNet164V2", 164, "bottleneck", **V2)
ResNet1001V2 = cifar_net("ResNet1001V2", 1001, "bottleneck", parameters="10.2M", **V2)

PlainNet20 = cifar_net("PlainNet20", 20, **PLAIN)
PlainNet32 = cifar_net("PlainNet32", 32, **PLAIN)
PlainNet44 = cifar_net("PlainNet44", 44, **PLAIN)
PlainNet56 = cifar_net("PlainNet56", 56, **PLAIN)
PlainNet110 = cifar_net("PlainNet110", 110, **PLAIN)


def CifarResNet(depth: int, *args: Any, unit: str = "basic", **arguments: Any) -> keras.Model:  # noqa: N802
    """A CIFAR network of any depth that its units make up: 6n+2 of basic, 9n+2 of bottleneck, 3n+2 of one-layer units.

    Args:
        depth: weighted layers.
        *args, **arguments: what `ResNet20` takes.
        unit: "basic", "bottleneck" or "one_layer".

    Raises:
        ValueError: another depth; the message names the nearest.
    """
    return cifar_net(f"ResNet{depth}", depth, unit)(*args, **arguments)
