"""State dicts in the names of torchvision's networks, which timm's share, and of PyTorch's CIFAR networks.

Those networks have the stride of a bottleneck unit in its 3x3 convolution.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..models.spec import Spec

_PLACES = {"conv1": "stem_conv", "bn1": "stem_bn", "fc": "logits"}
_ALSO = {"linear": "logits"}  # in the CIFAR networks
_SHORTCUT = {"0": "shortcut_conv", "1": "shortcut_bn"}
_VARIABLES = {
    "conv": {"weight": "kernel"},
    "bn": {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"},
    "logits": {"weight": "kernel", "bias": "bias"},
}
COUNTER = "num_batches_tracked"  # of a batch norm, which has no use here
EPSILON = 1e-5  # of torch's batch norm


def layout(spec: Spec) -> dict[str, Any]:
    """The choices of these networks that their tensors do not show."""
    same = {"bn_epsilon": EPSILON, "downsample": "stride", "order": "original", "skip": "identity"}
    return {**same, "stride_on": "3x3"} if spec.unit == "bottleneck" else same


def name_here(name: str) -> str | None:
    """layer2.0.downsample.1.weight -> stage2_unit1_shortcut_bn/gamma; None for what no network here has."""
    place, _, kind = name.rpartition(".")
    layer = {**_PLACES, **_ALSO}.get(place)
    if match := re.fullmatch(r"layer(\d+)\.(\d+)\.(?:(conv\d|bn\d)|(?:downsample|shortcut)\.([01]))", place):
        stage, unit, part, shortcut = match.groups()
        layer = f"stage{stage}_unit{int(unit) + 1}_{part or _SHORTCUT[shortcut]}"
    variable = _VARIABLES[_kind(layer)].get(kind) if layer else None
    return variable and f"{layer}/{variable}"


def name_there(name: str) -> str:
    """stage2_unit1_shortcut_bn/gamma -> layer2.0.downsample.1.weight.

    Raises:
        ValueError: a layer that torchvision's networks do not have.
    """
    layer, variable = name.split("/")
    place = {here: there for there, here in _PLACES.items()}.get(layer)
    if match := re.fullmatch(r"stage(\d+)_unit(\d+)_(?:(conv\d|bn\d)|(shortcut_conv|shortcut_bn))", layer):
        stage, unit, part, shortcut = match.groups()
        within = part or {here: f"downsample.{there}" for there, here in _SHORTCUT.items()}[shortcut]
        place = f"layer{stage}.{int(unit) - 1}.{within}"
    variables = {here: there for there, here in _VARIABLES[_kind(layer)].items()}
    if place is None or variable not in variables:
        raise ValueError(f"torchvision's networks have no {name}.")
    return f"{place}.{variables[variable]}"


def _kind(layer: str) -> str:
    return "logits" if layer == "logits" else "bn" if "bn" in layer else "conv"


def from_state(state: Mapping[str, np.ndarray], source: str) -> dict[str, np.ndarray]:
    """A state dict as tensors in Keras's layout.

    Raises:
        ValueError: a tensor that no network here has; the message names it.
    """
    tensors = {}
    for name, value in state.items():
        if name.endswith(COUNTER):
            continue
        here = name_here(name)
        if here is None:
            raise ValueError(f"{source} holds {name}, which no network here has.")
        # Kernels: (out, in, height, width) to (height, width, in, out), or (out, in) to (in, out).
        axes = {4: (2, 3, 1, 0), 2: (1, 0)}.get(np.ndim(value), range(np.ndim(value)))
        tensors[here] = np.ascontiguousarray(np.transpose(value, axes))
    return tensors


def to_state(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The other way round, with the counters of batch norm at zero.

    Raises:
        ValueError: a layer that torchvision's networks do not have.
    """
    state = {}
    for name, value in tensors.items():
        axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(value.ndim, range(value.ndim))
        there = name_there(name)
        state[there] = np.ascontiguousarray(value.transpose(axes))
        if there.endswith("running_var"):
            state[there.replace("running_var", COUNTER)] = np.zeros((), "int64")
    return state


def append_zeros(tensors: Mapping[str, np.ndarray], spec: Spec) -> dict[str, np.ndarray]:
    """Option A's weights from a network that puts one half of the zero channels before the others and one behind.

    Here all stand behind them, so the channels between the units of a stage change their places; what the network
    computes stays the same but for the order in which it adds.
    """
    moved = dict(tensors)
    order = np.arange(spec.stage_filters[0])  # which channel there is each one here
    last = len(spec.convolutions)
    for stage, (units, filters) in enumerate(zip(spec.stage_units, spec.stage_filters, strict=True), start=1):
        entering, channels = order, filters * spec.convolutions[-1].widening
        before = (channels - len(order)) // 2
        order = np.array([*(before + order), *range(before), *range(before + len(order), channels)])
        for unit in range(1, units + 1):
            name = f"stage{stage}_unit{unit}"
            first, out = f"{name}_conv1/kernel", f"{name}_conv{last}/kernel"
            moved[first] = moved[first][:, :, entering if unit == 1 else order]
            moved[out] = moved[out][..., order]
            for variable in _VARIABLES["bn"].values():
                moved[f"{name}_bn{last}/{variable}"] = moved[f"{name}_bn{last}/{variable}"][order]
    if "logits/kernel" in moved:  # a file may have no head
        moved["logits/kernel"] = moved["logits/kernel"][order]
    return moved
