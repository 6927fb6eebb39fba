"""Keras's HDF5 files of weights: `.weights.h5` as Keras 3 writes it, and `.h5` of weights or models as Keras 2 did."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..saving import first_line

# A layer's variables in Keras's order, by how many it has.
_VARIABLES = {
    1: ("kernel",),
    2: ("kernel", "bias"),
    3: ("mean", "variance", "count"),
    4: ("gamma", "beta", "moving_mean", "moving_variance"),
}
NORMALISATION = "mean"  # a variable that no other layer has
Layers = dict[str, dict[str, np.ndarray]]


def read_layers(path: Path) -> Layers:
    """The variables of a file by layer and name, those of a network within a model too.

    Raises:
        ValueError: a file that is damaged, or holds layers that no network of this package has.
    """
    try:
        with h5py.File(path) as file:
            group = file.get("model_weights", file)  # of a whole model's file
            return _older(group) if _names(group, "layer_names") else _newer(file)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ValueError(f"{str(path)!r} is no file of weights, or none that fits: {first_line(error)}") from error


def _newer(file: h5py.File) -> Layers:
    """Of Keras 3's `.weights.h5`: a layer's variables by number, its name among the attributes."""
    found: Layers = {}

    def see(place: str, group: Any) -> None:
        if not re.fullmatch(r"(.*/)?layers/[^/]+/vars", place) or not len(group):
            return
        layer, names = group.attrs.get("name"), _VARIABLES.get(len(group))
        if layer is None or names is None:
            raise ValueError(f"{place} is no layer of a network of keras_resnet, as Keras 3.15 writes it")
        found[layer] = {name: _array(group[str(number)]) for number, name in enumerate(names)}

    file.visititems(see)
    return found


def _older(group: h5py.Group) -> Layers:
    """Of Keras 2's `.h5`: a group a layer, whose attributes name its variables, "conv1_conv/kernel:0".

    A model within a model is one group; the names of its variables then say whose they are.
    """
    found: Layers = {}
    known = {name for names in _VARIABLES.values() for name in names}
    for layer in _names(group, "layer_names"):
        there = {name: name.removesuffix(":0").split("/")[-2:] for name in _names(group[layer], "weight_names")}
        weights = {name: place for name, place in there.items() if place[-1] in known}  # else the state of what draws
        alone = len({owner for owner, *_ in weights.values()}) == 1
        for name, (owner, *_, variable) in weights.items():
            found.setdefault(layer if alone else owner, {})[variable] = _array(group[layer][name])
    return found


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """A list among the attributes, which Keras cuts into "layer_names0", "layer_names1", ... if it is long."""
    parts = sorted(
        (key for key in group.attrs if re.fullmatch(rf"{attribute}\d*", key)), key=lambda key: (len(key), key)
    )
    names = [name for part in parts for name in group.attrs[part]]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _array(data: h5py.Dataset) -> np.ndarray:
    array = data[()]
    return array.view("bfloat16") if data.attrs.get("dtype") == "bfloat16" else array  # which HDF5 does not know
