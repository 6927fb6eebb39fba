"""Networks of PyTorch to be timed beside this package's."""

from __future__ import annotations

import runpy
from typing import Any


def torchvision_model(name: str, peers: str | None) -> Any:
    """torchvision's network of a name.

    Args:
        name: such as "resnet50".
        peers: a Python file that makes torchvision importable where its own wheel is not.

    Raises:
        LookupError: torchvision is not installed, or has no such network.
    """
    if peers:
        runpy.run_path(peers)
    try:
        import torchvision.models
    except (ImportError, RuntimeError) as error:  # RuntimeError: a wheel of another torch
        raise LookupError(f"torchvision: {str(error).splitlines()[0]}") from error
    if not hasattr(torchvision.models, name):
        raise LookupError(f"torchvision has no {name}")
    return getattr(torchvision.models, name)(weights=None)
