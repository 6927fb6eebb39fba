"""Conversion of state dicts: the names of torchvision's networks, shared by timm, and of PyTorch's CIFAR networks.

Those networks have the stride of a bottleneck unit in its 3x3 convolution.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..models.spec import Spec

_LAYERS = {"conv1": "stem_conv", "bn1": "stem_bn", "fc": "logits"}
_CIFAR_LAYERS = {"linear": "logits"}
_SHORTCUT = {"0": "shortcut_conv", "1": "shortcut_bn"}
_VARIABLES = {
    "conv": {"weight": "kernel"},
    "bn": {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"},
    "logits": {"weight": "kernel", "bias": "bias"},
}
COUNTER = "num_batches_tracked"  # variable of torch's batch norm that Keras's does not have
EPSILON = 1e-5  # of torch's batch norm


def layout(spec: Spec) -> dict[str, Any]:
    """Returns the choices of these networks that their tensors do not show."""
    common = {"bn_epsilon": EPSILON, "downsample": "stride", "order": "original", "skip": "identity"}
    return {**common, "stride_on": "3x3"} if spec.unit == "bottleneck" else common


def package_name(name: str) -> str | None:
    """Returns the name in this package of a tensor of PyTorch, or None if no network of this package has it.

    "layer2.0.downsample.1.weight" becomes "stage2_unit1_shortcut_bn/gamma".
    """
    module, _, torch_variable = name.rpartition(".")
    layer = {**_LAYERS, **_CIFAR_LAYERS}.get(module)
    if match := re.fullmatch(r"layer(\d+)\.(\d+)\.(?:(conv\d|bn\d)|(?:downsample|shortcut)\.([01]))", module):
        stage, unit, part, shortcut = match.groups()
        layer = f"stage{stage}_unit{int(unit) + 1}_{part or _SHORTCUT[shortcut]}"
    variable = _VARIABLES[_kind(layer)].get(torch_variable) if layer else None
    return variable and f"{layer}/{variable}"


def torch_name(name: str) -> str:
    """Returns the name in torchvision of a tensor of this package.

    "stage2_unit1_shortcut_bn/gamma" becomes "layer2.0.downsample.1.weight".

    Raises:
        ValueError: torchvision's networks do not have the layer.
    """
    layer, variable = name.split("/")
    module = _inverted(_LAYERS).get(layer)
    if match := re.fullmatch(r"stage(\d+)_unit(\d+)_(?:(conv\d|bn\d)|(shortcut_conv|shortcut_bn))", layer):
        stage, unit, part, shortcut = match.groups()
        module = f"layer{stage}.{int(unit) - 1}.{part or f'downsample.{_inverted(_SHORTCUT)[shortcut]}'}"
    torch_variables = _inverted(_VARIABLES[_kind(layer)])
    if module is None or variable not in torch_variables:
        raise ValueError(f"torchvision's networks have no {name}.")
    return f"{module}.{torch_variables[variable]}"


def _inverted(names: Mapping[str, str]) -> dict[str, str]:
    return {value: key for key, value in names.items()}


def _kind(layer: str) -> str:
    return "logits" if layer == "logits" else "bn" if "bn" in layer else "conv"


def from_state(state: Mapping[str, np.ndarray], source: str) -> dict[str, np.ndarray]:
    """Converts a state dict to tensors in Keras's layout under this package's names.

    Raises:
        ValueError: no network of this package has one of the tensors, or two are the same tensor of it; the message
            names it.
    """
    tensors = {}
    for torch_key, value in state.items():
        if torch_key.endswith(COUNTER):
            continue
        name = package_name(torch_key)
        if name is None:
            raise ValueError(f"{source} holds {torch_key}, which no network of keras_resnet has.")
        if name in tensors:  # such as "fc.weight" and "linear.weight"
            raise ValueError(f"{source} holds {torch_key} and another tensor for {name}.")
        # Kernels: (out, in, height, width) to (height, width, in, out), or (out, in) to (in, out).
        axes = {4: (2, 3, 1, 0), 2: (1, 0)}.get(np.ndim(value), range(np.ndim(value)))
        tensors[name] = np.ascontiguousarray(np.transpose(value, axes))
    return tensors


def to_state(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Converts tensors of this package to a state dict, with the batch counters of batch norm at zero.

    Raises:
        ValueError: torchvision's networks do not have one of the layers.
    """
    state = {}
    for name, value in tensors.items():
        axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(value.ndim, range(value.ndim))
        torch_key = torch_name(name)
        state[torch_key] = np.ascontiguousarray(value.transpose(axes))
        if torch_key.endswith("running_var"):
            state[torch_key.replace("running_var", COUNTER)] = np.zeros((), "int64")
    return state


def append_zeros(tensors: Mapping[str, np.ndarray], spec: Spec) -> dict[str, np.ndarray]:
    """Converts the weights of an option A network that pads half of the zero channels before the others, half after.

    This package pads all of them after the others, so the channels between the units of a stage are reordered. The
    network computes the same but for the order of its sums.
    """
    reordered = dict(tensors)
    order = np.arange(spec.stage_filters[0])  # for each channel of this package, its index in the source
    last = len(spec.convolutions)
    for stage, (units, filters) in enumerate(zip(spec.stage_units, spec.stage_filters, strict=True), start=1):
        entering, channels = order, round(filters * spec.width) * spec.convolutions[-1].expansion
        before = (channels - len(order)) // 2
        order = np.array([*(before + order), *range(before), *range(before + len(order), channels)])
        for unit in range(1, units + 1):
            name = f"stage{stage}_unit{unit}"
            first, out = f"{name}_conv1/kernel", f"{name}_conv{last}/kernel"
            reordered[first] = reordered[first][:, :, entering if unit == 1 else order]
            reordered[out] = reordered[out][..., order]
            for variable in _VARIABLES["bn"].values():
                reordered[f"{name}_bn{last}/{variable}"] = reordered[f"{name}_bn{last}/{variable}"][order]
    if "logits/kernel" in reordered:  # a file may have no head
        reordered["logits/kernel"] = reordered["logits/kernel"][order]
    return reordered
