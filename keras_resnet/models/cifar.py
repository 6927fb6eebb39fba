"""The networks for CIFAR: three stages of n units, with 16, 32 and 64 filters (He et al. 2015, section 4.2).

With k convolutions per unit, they have 3kn+2 weighted layers: 6n+2 with basic units, 9n+2 with bottleneck units, 3n+2
with one-layer units. Networks of bottleneck units have option B shortcuts, all others option A, as in both papers.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack

from .architectures import PLAIN, V2, Architecture, architecture
from .rows import UNITS
from .spec import NetworkChoices, Spec

if TYPE_CHECKING:
    import keras

    from .builder import Weights


def is_valid_depth(depth: int, unit: str) -> bool:
    """Returns whether there is a CIFAR network of `depth` weighted layers with units of this kind."""
    n, remainder = divmod(depth - 2, 3 * len(UNITS[unit]))
    return n >= 1 and not remainder


def cifar_spec(depth: int, unit: str = "basic", **choices: Any) -> Spec:
    """Returns the spec of the CIFAR network of a given depth.

    Args:
        depth: number of weighted layers; ignored if `stage_units` is among the choices, which then determines it.
        unit: the residual unit.
        **choices: further fields of `Spec`.

    Raises:
        ValueError: there is no network of this depth with such units; the message names the nearest valid depths.
    """
    defaults = {"stage_filters": (16, 32, 64), "shortcut": "B" if unit == "bottleneck" else "A", "stem": "cifar"}
    if "stage_units" not in choices:
        defaults["stage_units"] = 3 * (_units_per_stage(depth, unit),)
    return Spec(unit=unit, **{**defaults, **choices})


def _units_per_stage(depth: int, unit: str) -> int:
    """Returns the n of the CIFAR network of `depth` weighted layers; raises the error of `cifar_spec`."""
    layers = 3 * len(UNITS.get(unit, UNITS["basic"]))  # an unknown unit is rejected by `Spec`
    integral = isinstance(depth, numbers.Integral)
    n = (int(depth) - 2) // layers if integral else 0
    if n >= 1 and depth == n * layers + 2:
        return n
    nearest = f"{n * layers + 2} and {(n + 1) * layers + 2}" if n >= 1 else f"{layers + 2}"
    others = [repr(other) for other in UNITS if integral and is_valid_depth(depth, other)]
    raise ValueError(
        f"A CIFAR network of {unit} units has {layers}n+2 layers. Received: depth={depth!r}; nearest: {nearest}"
        + (f", or {depth} with unit={' or '.join(others)}" if others else "")
    )


def cifar_net(
    name: str, depth: int, unit: str = "basic", *, parameters: str | None = None, **choices: Any
) -> Architecture:
    """Returns the builder function of the CIFAR network of a given depth.

    Args:
        name: the name by which it is imported, such as "ResNet20".
        depth: number of weighted layers.
        unit: the residual unit.
        parameters: number of parameters as the paper prints it.
        **choices: further fields of `Spec`.

    Raises:
        ValueError: there is no network of this depth with such units.
    """
    spec = cifar_spec(depth, unit, **choices)

    def respec(**changes: Any) -> Spec:
        """Returns the spec with other choices; another unit keeps the depth, not the number of units."""
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


def CifarResNet(  # noqa: N802
    depth: int,
    include_top: bool = True,
    weights: Weights = None,
    input_tensor: keras.KerasTensor | None = None,
    input_shape: Sequence[int | None] | None = None,
    pooling: str | None = None,
    classes: int = 10,
    classifier_activation: str | Callable[..., Any] | None = "softmax",
    name: str | None = None,
    *,
    include_preprocessing: bool = True,
    data_format: str | None = None,
    dtype: str | keras.DTypePolicy | None = None,
    **choices: Unpack[NetworkChoices],
) -> keras.Model:
    """Builds a residual network for CIFAR of any valid depth (He et al. 2015, section 4.2).

    Args:
        depth: number of weighted layers: 6n+2 for basic units, 9n+2 for bottleneck units, 3n+2 for one-layer units,
            where n is the number of units in each of the three stages.
        include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation: as for
            `keras_resnet.ResNet20`.
        name: name of the model; None for that of the depth, such as "resnet38".
        include_preprocessing, data_format, dtype: as for `keras_resnet.ResNet`.
        **choices: fields of `keras_resnet.Spec`, such as `unit`: "basic" by default, "bottleneck" or "one_layer".

    Returns:
        A functional `keras.Model`. Its output has the shape (batch, 10) by default.

    Raises:
        ValueError: there is no network of this depth with such units; the message names the nearest valid depths.
            Also as `keras_resnet.ResNet`.

    Example:
        >>> model = keras_resnet.CifarResNet(38, order="full_preactivation")
        >>> model = keras_resnet.CifarResNet(29, unit="bottleneck", classes=100)
    """
    network = cifar_net(f"ResNet{depth}", depth, choices.get("unit", "basic"))
    return network(
        include_top,
        weights,
        input_tensor,
        input_shape,
        pooling,
        classes,
        classifier_activation,
        name=f"resnet{depth}" if name is None else name,
        include_preprocessing=include_preprocessing,
        data_format=data_format,
        dtype=dtype,
        **choices,
    )
