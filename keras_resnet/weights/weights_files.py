"""Keras's `.weights.h5` files, in which each layer lies under its name."""

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


def read_layers(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """The variables of a file by layer and name, those of a network within a model too.

    Raises:
        ValueError: a file that is damaged, or holds layers that no network of this package has.
    """
    found: dict[str, dict[str, np.ndarray]] = {}

    def see(place: str, group: Any) -> None:
        if not re.fullmatch(r"(.*/)?layers/[^/]+/vars", place) or not len(group):
            return
        layer, names = group.attrs.get("name"), _VARIABLES.get(len(group))
        if layer is None or names is None:
            raise ValueError(f"{place} is no layer of a network of keras_resnet, as Keras 3.15 writes it")
        found[layer] = {name: _array(group[str(number)]) for number, name in enumerate(names)}

    try:
        with h5py.File(path) as file:
            file.visititems(see)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ValueError(f"{str(path)!r} is no `.weights.h5` file that fits: {first_line(error)}") from error
    return found


def _array(data: h5py.Dataset) -> np.ndarray:
    array = data[()]
    return array.view("bfloat16") if data.attrs.get("dtype") == "bfloat16" else array  # which HDF5 does not know
