"""Every named network, by its name."""

from __future__ import annotations

import re
from types import ModuleType

from ..options import suggestion
from . import cifar, imagenet
from .architectures import PLAIN, V2, Architecture
from .cifar import cifar_net, is_valid_depth


def _networks_of(module: ModuleType) -> dict[str, Architecture]:
    return {name.lower(): value for name, value in vars(module).items() if hasattr(value, "respec")}


IMAGENET, CIFAR = _networks_of(imagenet), _networks_of(cifar)
ARCHITECTURES: dict[str, Architecture] = {**IMAGENET, **CIFAR}
PREFIX = "cifar-"  # distinguishes a CIFAR network from the ImageNet network of the same depth


def find(name: str, unit: str | None = None) -> Architecture:
    """Returns the network of a given name, in upper or lower case.

    Args:
        name: a named network, "resnet50" or "ResNet110V2", or a CIFAR network of any valid depth, "plainnet38". If
            there is an ImageNet network of that depth, this name is ImageNet's, and CIFAR's is "cifar-resnet50".
        unit: the unit that the caller chose for the network, if any. It is used if there is no network of this depth
            with basic units: "resnet29" exists with bottleneck units.

    Raises:
        ValueError: there is no such network; the message suggests similar names or the nearest depths.
    """
    lowered = name.lower()
    if architecture := ARCHITECTURES.get(lowered) or CIFAR.get(lowered.removeprefix(PREFIX)):
        return architecture
    if match := re.fullmatch(rf"(?:{PREFIX})?(resnet|plainnet)(\d+)(v2)?", lowered):
        kind, depth, v2 = match.groups()
        choices = {**(PLAIN if kind == "plainnet" else {}), **(V2 if v2 else {})}
        unit_of_depth = "basic" if unit is None or is_valid_depth(int(depth), "basic") else unit
        return cifar_net(lowered, int(depth), unit_of_depth, **choices)
    hint = suggestion(lowered, ARCHITECTURES, 3)
    raise ValueError(f"Unknown network {name!r}. `keras-resnet summary` lists all{hint}")


def of_depth(name: str, depth: int) -> str:
    """Returns the name of the CIFAR network of another depth, of the same kind (plain or residual, V2 or not).

    Args:
        name: a network's name, "resnet20v2".
        depth: number of weighted layers.
    """
    renamed = re.sub(r"\d+", str(depth), name.lower().removeprefix(PREFIX), count=1)
    return f"{PREFIX}{renamed}" if renamed in IMAGENET else renamed
