"""Networks of PyTorch to be timed beside this package's."""

from __future__ import annotations

import importlib
import runpy
from typing import Any

CIFAR = (20, 32, 44, 56, 110, 1202)


def network(name: str, peers: str | None) -> Any:
    """The network of a name in PyTorch: torchvision's, or one for CIFAR-10.

    Args:
        name: such as "resnet50" or "resnet20".
        peers: a Python file that makes torchvision importable where its own wheel is not.

    Raises:
        LookupError: there is none, or torchvision is not installed.
    """
    depth = int(name.removeprefix("resnet"))
    if depth in CIFAR:
        return cifar_resnet(depth)
    models = _imported("torchvision.models", peers)
    if not hasattr(models, name):
        raise LookupError(f"torchvision has no {name}")
    return getattr(models, name)(weights=None)


def timm_network(name: str, peers: str | None) -> Any:
    """timm's network of a name; see `network`."""
    timm = _imported("timm", peers)
    if name not in timm.list_models(name):
        raise LookupError(f"timm has no {name}")
    return timm.create_model(name)


def device_of_torch() -> str:
    """Where PyTorch computes: on a GPU if there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _imported(module: str, peers: str | None) -> Any:
    """A module that is torchvision's or needs it.

    Raises:
        LookupError: it is not installed, or torchvision is not.
    """
    try:
        if peers:
            runpy.run_path(peers)
        return importlib.import_module(module)
    except (ImportError, RuntimeError) as error:  # RuntimeError: a wheel of another torch
        raise LookupError(f"{module}: {str(error).splitlines()[0]}") from error


def cifar_resnet(depth: int) -> Any:
    """The network of 6n + 2 layers of He et al. 2015, section 4.2, with option A, as one writes it in PyTorch."""
    from torch import nn
    from torch.nn import functional

    class Unit(nn.Module):
        def __init__(self, before: int, filters: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(before, filters, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(filters)
            self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(filters)
            self.stride, self.more = stride, filters - before

        def forward(self, x: Any) -> Any:
            y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
            if self.more:
                x = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))
            return functional.relu(x + y)

    layers: list[Any] = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    before = 16
    for filters in (16, 32, 64):
        for _ in range((depth - 2) // 6):
            layers.append(Unit(before, filters, 1 if filters == before else 2))
            before = filters
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
