"""Conversion of state dicts: the names of torchvision's and timm's networks, and of PyTorch's CIFAR networks.

timm has torchvision's names, except in its networks of version 2. All of these networks have the stride of a bottleneck
unit in its 3x3 convolution.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..models.architectures import V2
from ..models.spec import Spec


class Naming(NamedTuple):
    """How a family of PyTorch's networks names its layers.

    Attributes:
        library: the library that has these networks, for messages.
        layers: the layers outside of the units, and their names in this package.
        unit: the beginning of the names of a unit's layers, with places for the numbers of its stage and of itself.
        first_stage: the number of the first stage.
        parts: the layers of a unit, and the ends of their names in this package.
        dense_kernel: the number of axes of the dense layer's kernel, which is 4 if that layer is a 1x1 convolution.
    """

    library: str
    layers: Mapping[str, str]
    unit: str
    first_stage: int
    parts: Mapping[str, str]
    dense_kernel: int = 2

    def package_layer(self, module: str) -> str | None:
        """Returns the name in this package of a layer; None if these networks have no such layer."""
        if match := re.fullmatch(self.unit.format(r"(\d+)", r"(\d+)").replace(".", r"\.") + r"\.(.+)", module):
            stage, unit, part = match.groups()
            name = f"stage{int(stage) - self.first_stage + 1}_unit{int(unit) + 1}"
            return f"{name}_{self.parts[part]}" if part in self.parts else None
        return self.layers.get(module)

    def torch_layer(self, layer: str) -> str | None:
        """Returns the name of a layer of this package; None if these networks have no such layer."""
        if match := re.fullmatch(r"stage(\d+)_unit(\d+)_(.+)", layer):
            stage, unit, part = match.groups()
            name = self.unit.format(int(stage) - 1 + self.first_stage, int(unit) - 1)
            return f"{name}.{_inverted(self.parts)[part]}" if part in self.parts.values() else None
        return _inverted(self.layers).get(layer)


_CONVOLUTIONS = {f"conv{number}": f"conv{number}" for number in (1, 2, 3)}
_UNIT = _CONVOLUTIONS | {f"bn{number}": f"bn{number}" for number in (1, 2, 3)}
TORCHVISION = Naming(
    "torchvision",
    {"conv1": "stem_conv", "bn1": "stem_bn", "fc": "logits"},
    "layer{}.{}",
    1,
    _UNIT | {"downsample.0": "shortcut_conv", "downsample.1": "shortcut_bn"},
)
CIFAR = TORCHVISION._replace(
    layers={"conv1": "stem_conv", "bn1": "stem_bn", "linear": "logits"},
    parts=_UNIT | {"shortcut.0": "shortcut_conv", "shortcut.1": "shortcut_bn"},
)
TIMM_V2 = Naming(
    "timm",
    {"stem.conv": "stem_conv", "norm": "head_bn", "head.fc": "logits"},
    "stages.{}.blocks.{}",
    0,
    _CONVOLUTIONS | {"norm1": "bn1", "norm2": "bn2", "norm3": "bn3", "downsample.conv": "shortcut_conv"},
    dense_kernel=4,
)
_VARIABLES = {
    "conv": {"weight": "kernel"},
    "bn": {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"},
    "logits": {"weight": "kernel", "bias": "bias"},
}
COUNTER = "num_batches_tracked"  # variable of torch's batch norm that Keras's does not have
EPSILON = 1e-5  # of torch's batch norm
# Tensors of networks with the other names of a ResNet, and what these networks have.
_FOREIGN = {
    r"(conv1\.|stem\.conv)\d\..*": "a stem of several convolutions",
    r".*\.se\..*": "channel attention",
    r"(fc|linear|head\.fc)\.\d\..*": "a head of several layers",
}


def naming_of(state: Mapping[str, Any]) -> Naming:
    """Returns how a state dict names its layers; for PyTorch's CIFAR networks as for torchvision's."""
    return TIMM_V2 if any(name.startswith("stages.") for name in state) else TORCHVISION


def layout(spec: Spec, naming: Naming) -> dict[str, Any]:
    """Returns the choices of these networks that their tensors do not show."""
    order = {**V2, "stem": "bare"} if naming is TIMM_V2 else {"order": "original"}
    common = {"bn_epsilon": EPSILON, "downsample": "stride", **order, "skip": "identity"}
    return {**common, "stride_on": "3x3"} if spec.unit == "bottleneck" else common


def package_name(name: str) -> str | None:
    """Returns the name in this package of a tensor of PyTorch, or None if no network of this package has it.

    "layer2.0.downsample.1.weight" becomes "stage2_unit1_shortcut_bn/gamma".
    """
    module, _, torch_variable = name.rpartition(".")
    layers = (naming.package_layer(module) for naming in (TORCHVISION, CIFAR, TIMM_V2))
    layer = next((layer for layer in layers if layer), None)
    variable = _VARIABLES[_kind(layer)].get(torch_variable) if layer else None
    return variable and f"{layer}/{variable}"


def torch_name(name: str, naming: Naming = TORCHVISION) -> str:
    """Returns the name in torchvision or timm of a tensor of this package.

    "stage2_unit1_shortcut_bn/gamma" becomes "layer2.0.downsample.1.weight".

    Raises:
        ValueError: those networks do not have the layer.
    """
    layer, variable = name.split("/")
    module, torch_variables = naming.torch_layer(layer), _inverted(_VARIABLES[_kind(layer)])
    if module is None or variable not in torch_variables:
        raise ValueError(f"{naming.library}'s networks have no {name}.")
    return f"{module}.{torch_variables[variable]}"


def _inverted(names: Mapping[str, str]) -> dict[str, str]:
    return {value: key for key, value in names.items()}


def _kind(layer: str) -> str:
    return "logits" if layer == "logits" else "bn" if "bn" in layer else "conv"


def from_state(state: Mapping[str, np.ndarray], source: str) -> dict[str, np.ndarray]:
    """Converts a state dict to tensors in Keras's layout under this package's names.

    Raises:
        ValueError: no network of this package has one of the tensors, or two are the same tensor of it, which the
            message names; or the network has no batch norm.
    """
    state = _with_single_head(state)
    names = {torch_key: name for torch_key in state if (name := package_name(torch_key))}
    _check_names([name for name in state if name not in names and not name.endswith(COUNTER)], source)
    tensors: dict[str, np.ndarray] = {}
    for torch_key, name in names.items():
        value = state[torch_key]
        if name in tensors:  # such as "fc.weight" and "linear.weight"
            raise ValueError(f"{source} holds {torch_key} and another tensor for {name}.")
        if name == "logits/kernel" and np.shape(value)[2:] == (1, 1):
            value = value[:, :, 0, 0]
        # Kernels: (out, in, height, width) to (height, width, in, out), or (out, in) to (in, out).
        axes = {4: (2, 3, 1, 0), 2: (1, 0)}.get(np.ndim(value), range(np.ndim(value)))
        tensors[name] = np.ascontiguousarray(np.transpose(value, axes))
    variables = {name.split("/")[1] for name in tensors}
    if "gamma" in variables and not variables & {"moving_mean", "moving_variance"}:
        raise ValueError(
            f"{source} has no statistics of batch norm: its network normalises in another way, such as by groups in "
            "timm's BiT, which no network of keras_resnet does."
        )
    return tensors


def _with_single_head(state: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """Renames the dense layer of a head such as `Sequential(Dropout(), Linear())`: "fc.1.weight" to "fc.weight".

    What precedes this layer has no variables, and is dropout as a rule, which inference leaves out. A head that begins
    with its dense layer, as "fc.0.weight", is not renamed: an activation may follow.
    """
    layers = {name.rpartition(".")[0] for name in state if re.match(r"(fc|linear|head\.fc)\.", name)}
    match = re.fullmatch(r"(fc|linear|head\.fc)\.[1-9]", layers.pop()) if len(layers) == 1 else None
    if match is None:
        return state
    return {re.sub(rf"^{re.escape(match[0])}\.", f"{match[1]}.", name): value for name, value in state.items()}


def _check_names(unknown: Sequence[str], source: str) -> None:
    """Checks that there are no tensors that no network of this package has, given by their names."""
    for pattern, what in _FOREIGN.items():
        if foreign := [name for name in unknown if re.fullmatch(pattern, name)]:
            raise ValueError(f"{source} holds {foreign[0]}, which no network of keras_resnet has: {what}.")
    if unknown:
        raise ValueError(f"{source} holds {unknown[0]}, which no network of keras_resnet has.")


def to_state(tensors: Mapping[str, np.ndarray], naming: Naming = TORCHVISION) -> dict[str, np.ndarray]:
    """Converts tensors of this package to a state dict, with the batch counters of batch norm at zero.

    Raises:
        ValueError: the networks of that library do not have one of the layers.
    """
    state = {}
    for name, value in tensors.items():
        if name == "logits/kernel":
            value = value.reshape((1,) * (naming.dense_kernel - 2) + value.shape)
        axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(value.ndim, range(value.ndim))
        torch_key = torch_name(name, naming)
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
