"""Keras's HDF5 files of weights: `.weights.h5` of Keras 3, and `.h5` of weights or models of Keras 2."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..files import first_line

HDF5 = (".h5", ".hdf5")
# The variables of a layer in Keras's order, by their number.
_VARIABLES = {
    1: ("kernel",),
    2: ("kernel", "bias"),
    3: ("mean", "variance", "count"),
    4: ("gamma", "beta", "moving_mean", "moving_variance"),
}
# `preprocess_input` for version 1, by Keras 2 and 3: channels in the order BGR, to which it adds their negative means.
_CAFFE_MODE = ("__operators__.getitem", "nn.bias_add", "GetItem", "Stack", "Add")
NORMALISATION = "mean"  # a variable that only normalisation layers have
Layers = dict[str, dict[str, np.ndarray]]


def read_layers(path: Path) -> Layers:
    """Reads the variables of a file by layer and name, including those of a network nested in a model.

    Layers without variables may be listed too.

    Raises:
        ValueError: the file is damaged, or holds layers that no network of this package has.
    """
    try:
        with h5py.File(path) as file:
            group = file.get("model_weights", file)  # exists if the file holds a model
            return _read_keras2(group, file) if _names(group, "layer_names") else _read_keras3(file)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ValueError(f"{str(path)!r} is not a supported file of weights: {first_line(error)}") from error


def model_config(path: Path) -> str:
    """Returns the JSON of the model in a `.h5` file; "" if the file holds only weights."""
    with h5py.File(path) as file:
        config = file.attrs.get("model_config", "")
    return config.decode() if isinstance(config, bytes) else str(config)


def unread_operations(config: str) -> list[str]:
    """Returns the operations between the layers of a model in a `.h5` file, except those of `preprocess_input`.

    Keras 3 does not open models with operations in this format, neither its own ("TrueDivide") nor those of Keras 2
    ("math.truediv", or Lambda layers).

    Args:
        config: what `model_config` returns.
    """
    names: list[str] = []

    def visit(value: Any) -> None:
        if isinstance(value, list):
            for part in value:
                visit(part)
        elif isinstance(value, dict):
            name, inner = value.get("class_name"), value.get("config")
            if "inbound_nodes" in value and isinstance(inner, dict):
                is_operation = "trainable" not in inner and name not in ("InputLayer", "Functional", "Sequential")
                if name in ("TFOpLambda", "SlicingOpLambda"):
                    names.append(str(inner.get("function")))
                elif name == "Lambda" or is_operation:
                    names.append(str(name))
            visit(list(value.values()))

    visit(json.loads(config) if config else {})
    return [name for name in dict.fromkeys(names) if name not in _CAFFE_MODE]


def _read_keras3(file: h5py.File) -> Layers:
    """Reads a `.weights.h5` file: each layer has a group of numbered variables, with its name among the attributes."""
    layers: Layers = {}

    def visit(path: str, group: Any) -> None:
        if match := re.fullmatch(r"(?:.*/)?layers/(rescaling(?:_\d+)?)", path):
            layers[match[1]] = {}  # it has no variables, but changes what the network computes
        if not re.fullmatch(r"(.*/)?layers/[^/]+/vars", path) or not len(group):
            return
        layer, names = group.attrs.get("name"), _VARIABLES.get(len(group))
        if layer is None or names is None:
            raise ValueError(f"{path} is not a layer of a keras_resnet network as Keras 3.15 writes it")
        layers[layer] = {name: _array(group[str(number)], file) for number, name in enumerate(names)}

    file.visititems(visit)
    return layers


def _read_keras2(group: h5py.Group, file: h5py.File) -> Layers:
    """Reads a `.h5` file: each layer has a group, whose attributes name its variables, such as "conv1_conv/kernel:0".

    A nested model is a single group, in which the names of the variables include those of their layers.
    """
    layers: Layers = {}
    known_variables = {name for names in _VARIABLES.values() for name in names}
    for layer in _names(group, "layer_names"):
        paths = {name: name.removesuffix(":0").split("/")[-2:] for name in _names(group[layer], "weight_names")}
        # Other variables are the states of random generators.
        weights = {name: path for name, path in paths.items() if path[-1] in known_variables}
        if not weights:
            layers[layer] = {}
        is_single_layer = len({owner for owner, *_ in weights.values()}) == 1
        for name, (owner, *_, variable) in weights.items():
            layers.setdefault(layer if is_single_layer else owner, {})[variable] = _array(group[layer][name], file)
    return layers


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """Reads names from an attribute, which Keras splits into "layer_names0", "layer_names1", ... if long.

    The parts may be in any order, since tensors are found by their names.
    """
    parts = [key for key in group.attrs if re.fullmatch(rf"{attribute}\d*", key)]
    names = [name for part in parts for name in group.attrs[part]]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _array(data: Any, file: h5py.File) -> np.ndarray:
    """Reads a variable, as in Keras only from the file itself: a link in it may lead to any other file of the machine.

    Raises:
        ValueError: it is elsewhere, or no array of numbers.
    """
    inside = isinstance(data, h5py.Dataset) and data.file.filename == file.filename
    if not inside or data.external or data.is_virtual or data.dtype.kind not in "biufcV":
        raise ValueError(f"it has no numbers of its own for {data.name}")
    array = data[()]
    return array.view("bfloat16") if data.attrs.get("dtype") == "bfloat16" else array  # HDF5 has no bfloat16
