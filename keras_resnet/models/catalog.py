"""Every named network, found by its name."""

from __future__ import annotations

import difflib
import re

from . import cifar, imagenet
from .architectures import PLAIN, V2, Architecture
from .cifar import cifar_net

ARCHITECTURES: dict[str, Architecture] = {
    name.lower(): value
    for module in (imagenet, cifar)
    for name, value in vars(module).items()
    if hasattr(value, "respec")
}


def find(name: str) -> Architecture:
    """The network of a name in any case: "resnet50", "ResNet110V2", or a CIFAR net of another depth, "plainnet38".

    Raises:
        ValueError: no such network; the message names the nearest names or depths.
    """
    wanted = name.lower()
    if wanted in ARCHITECTURES:
        return ARCHITECTURES[wanted]
    if match := re.fullmatch(r"(resnet|plainnet)(\d+)(v2)?", wanted):
        kind, depth, v2 = match.groups()
        choices = {**(PLAIN if kind == "plainnet" else {}), **(V2 if v2 else {})}
        return cifar_net(wanted, int(depth), **choices)
    close = difflib.get_close_matches(wanted, ARCHITECTURES, n=3) or ["resnet20", "resnet50", "plainnet20"]
    raise ValueError(f"Unknown network {name!r}. Near it: {', '.join(close)}; `keras-resnet summary` lists all.")
