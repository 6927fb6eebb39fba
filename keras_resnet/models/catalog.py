"""Every named network, found by its name."""

from __future__ import annotations

import difflib
import re

from . import cifar, imagenet
from .architectures import PLAIN, V2, Architecture
from .cifar import cifar_net, made_of

IMAGENET, CIFAR = (
    {name.lower(): value for name, value in vars(module).items() if hasattr(value, "respec")}
    for module in (imagenet, cifar)
)
ARCHITECTURES: dict[str, Architecture] = {**IMAGENET, **CIFAR}
PREFIX = "cifar-"  # tells a CIFAR network from ImageNet's of the same depth


def find(name: str, unit: str | None = None) -> Architecture:
    """The network of a name in any case.

    Args:
        name: "resnet50", "ResNet110V2", or a CIFAR network of any depth, "plainnet38". Where ImageNet has a network of
            that depth, the name is ImageNet's, and CIFAR's is "cifar-resnet50".
        unit: the unit that the caller chooses for it, if any. A depth that basic units do not make is looked up among
            those of this unit: "resnet29" is one of bottleneck units.

    Raises:
        ValueError: no such network; the message names the nearest names or depths.
    """
    wanted = name.lower()
    if found := ARCHITECTURES.get(wanted) or CIFAR.get(wanted.removeprefix(PREFIX)):
        return found
    if match := re.fullmatch(rf"(?:{PREFIX})?(resnet|plainnet)(\d+)(v2)?", wanted):
        kind, depth, v2 = match.groups()
        choices = {**(PLAIN if kind == "plainnet" else {}), **(V2 if v2 else {})}
        own = "basic" if unit is None or made_of(int(depth), "basic") else unit
        return cifar_net(wanted, int(depth), own, **choices)
    close = difflib.get_close_matches(wanted, ARCHITECTURES, n=3) or ["resnet20", "resnet50", "plainnet20"]
    raise ValueError(f"Unknown network {name!r}. Near it: {', '.join(close)}; `keras-resnet summary` lists all.")


def of_depth(name: str, depth: int) -> str:
    """The name of the CIFAR network of another depth that is plain or residual, original or V2, as a named one is."""
    other = re.sub(r"\d+", str(depth), name.lower().removeprefix(PREFIX), count=1)
    return f"{PREFIX}{other}" if other in IMAGENET else other
