"""What the layers of a network show of its choices, where its file does not tell them: one that Keras saved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import keras

from ..models.rows import STEMS


def layout(model: keras.Model) -> dict[str, Any]:
    """Choices of `Spec` that the tensors do not show: of the stem, the strides, the shortcut and batch norm.

    Args:
        model: a network of this package; any other shows nothing.
    """
    layers = {layer.name: layer for layer in model.layers}
    if "stem_conv" not in layers:
        return {}
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    epsilon = {"bn_epsilon": norms[0].epsilon} if norms else {}
    return {**epsilon, **_stem(layers), **_strides(layers), **_shortcut(layers)}


def _stem(layers: Mapping[str, Any]) -> dict[str, Any]:
    shown = layers["stem_conv"].kernel_size[0], not layers["stem_conv"].use_bias
    return next(({"stem": name} for name, row in STEMS.items() if (row.kernel, row.activated) == shown), {})


def _strides(layers: Mapping[str, Any]) -> dict[str, Any]:
    """Which unit of a stage halves the map, and which convolution of a bottleneck unit."""
    if "stage2_pool" in layers:
        return {"downsample": "max_pool"}
    convolutions = [name for name in layers if re.fullmatch(r"stage\d+_unit\d+_conv[12]", name)]
    strided = next((name for name in convolutions if layers[name].strides != (1, 1)), None)
    if strided is None:
        return {}
    unit, convolution = strided.rsplit("_", 1)
    downsample = {"downsample": "last_unit" if unit.startswith("stage1_") else "stride"}
    bottleneck = f"{unit}_conv3" in layers
    return {**downsample, "stride_on": {"conv1": "1x1", "conv2": "3x3"}[convolution]} if bottleneck else downsample


def _shortcut(layers: Mapping[str, Any]) -> dict[str, Any]:
    """Zero padding or none; projections show in the tensors."""
    if not any(name.endswith("_add") for name in layers):
        return {"shortcut": None}
    return {"shortcut": "A"} if any(name.endswith("_shortcut_pad") for name in layers) else {}
