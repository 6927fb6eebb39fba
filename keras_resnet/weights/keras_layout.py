"""What the layers of a network show of its choices, where its file does not tell them: one that Keras saved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import keras

from ..models.rows import ORDERS, STEMS
from ..models.units import parts

# How the names of layers end that a skip alone has.
_SKIPS = {
    "_shortcut_scale": "constant_scaling",
    "_residual_gated": "exclusive_gating",
    "_shortcut_gated": "shortcut_only_gating",
    "_shortcut_dropout": "dropout",
}
_BEHIND_RESIDUAL = ("_residual_scale", "_residual_gated", "_drop", "_add")


def layout(model: keras.Model) -> dict[str, Any]:
    """Choices of `Spec` that the tensors do not show: of stem, strides, shortcut, skip, order and batch norm.

    Args:
        model: a network of this package; any other shows nothing.
    """
    layers = {layer.name: layer for layer in model.layers}
    if "stem_conv" not in layers:
        return {}
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    epsilon = {"bn_epsilon": norms[0].epsilon} if norms else {}
    return {**epsilon, **_stem(layers), **_strides(layers), **_shortcut(layers), **_skip(layers), **_order(layers)}


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


def _skip(layers: Mapping[str, Any]) -> dict[str, Any]:
    """A skip with a layer of its own; what it multiplies by too, where that is a number."""
    skip = next((skip for end, skip in _SKIPS.items() if any(name.endswith(end) for name in layers)), None)
    if skip is None:
        return {}
    numbers = {
        number: getattr(layer, attribute)
        for end, number, attribute in (
            ("_shortcut_scale", "shortcut_scale", "scale"),
            ("_residual_scale", "residual_scale", "scale"),
            ("_shortcut_dropout", "skip_dropout", "rate"),
        )
        for name, layer in layers.items()
        if name.endswith(end)
    }
    return {"skip": skip, **numbers, **_everywhere(layers)}


def _everywhere(layers: Mapping[str, Any]) -> dict[str, Any]:
    """Whether a skip is in units that change the shape too, if there are some."""
    changed = {name.split("_shortcut_")[0] for name in layers if name.endswith(("_shortcut_pad", "_shortcut_conv"))}
    skipped = {name.removesuffix(end) for name in layers for end in _SKIPS if name.endswith(end)}
    return {"skip_everywhere": changed <= skipped} if changed else {}


def _order(layers: Mapping[str, Any]) -> dict[str, Any]:
    """By what the first residual ends in, and what the units leave to the activation behind the last."""
    unit = "stage1_unit1"
    behind = [layers[f"{unit}{end}"] for end in _BEHIND_RESIDUAL if f"{unit}{end}" in layers]
    taken = keras.tree.flatten([layer.input for layer in behind])
    kinds = {
        match[1]
        for name, layer in layers.items()
        if (match := re.fullmatch(rf"{unit}_(conv|bn|relu)\d", name)) and any(layer.output is one for one in taken)
    }
    left = [kind for kind in ("bn", "relu") if f"head_{kind}" in layers]
    for order in ORDERS:
        before, residual, _ = parts(order, 2)
        if kinds == {residual[-1][0]} and left == [kind for kind, _ in before]:
            return {"order": order}
    return {}
