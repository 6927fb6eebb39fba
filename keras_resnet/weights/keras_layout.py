"""Recovers a network's choices from its layers, for files saved by Keras, which do not record them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import keras

from ..models.rows import ORDERS, STEMS
from ..models.units import expand

# Suffixes of the names of layers that only one skip has.
_SKIPS = {
    "_shortcut_scale": "constant_scaling",
    "_residual_gated": "exclusive_gating",
    "_shortcut_gated": "shortcut_only_gating",
    "_shortcut_dropout": "dropout",
}
_AFTER_RESIDUAL = ("_residual_scale", "_residual_gated", "_drop", "_add")


def layout(model: keras.Model) -> dict[str, Any]:
    """Returns the fields of `Spec` that the tensors do not show: stem, strides, shortcut, skip, order and batch norm.

    Args:
        model: a network of this package; for any other model, the result is empty.
    """
    layers = {layer.name: layer for layer in model.layers}
    if "stem_conv" not in layers:
        return {}
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    epsilon = {"bn_epsilon": norms[0].epsilon} if norms else {}
    return {**epsilon, **_stem(layers), **_strides(layers), **_shortcut(layers), **_skip(layers), **_order(layers)}


def _stem(layers: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the stem that has this kernel, activation and bias."""
    convolution = layers["stem_conv"]
    found = convolution.kernel_size[0], "stem_relu" in layers, convolution.use_bias
    return next(({"stem": name} for name, row in STEMS.items() if (row.kernel, row.activated, row.bias) == found), {})


def _strides(layers: Mapping[str, Any]) -> dict[str, Any]:
    """Returns which unit of a stage halves the map, and by which convolution if it is a bottleneck unit."""
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
    """Returns whether shortcuts pad or do not exist; projections show in the tensors."""
    if not any(name.endswith("_add") for name in layers):
        return {"shortcut": None}
    return {"shortcut": "A"} if any(name.endswith("_shortcut_pad") for name in layers) else {}


def _skip(layers: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the skip, if it has layers of its own, with its factors or rate."""
    skip = next((skip for suffix, skip in _SKIPS.items() if any(name.endswith(suffix) for name in layers)), None)
    if skip is None:
        return {}
    numbers = {
        number: getattr(layer, attribute)
        for suffix, number, attribute in (
            ("_shortcut_scale", "shortcut_scale", "scale"),
            ("_residual_scale", "residual_scale", "scale"),
            ("_shortcut_dropout", "skip_dropout", "rate"),
        )
        for name, layer in layers.items()
        if name.endswith(suffix)
    }
    return {"skip": skip, **numbers, **_everywhere(layers)}


def _everywhere(layers: Mapping[str, Any]) -> dict[str, Any]:
    """Returns whether the skip is also in units that change the shape, if there are such units."""
    changed = {name.split("_shortcut_")[0] for name in layers if name.endswith(("_shortcut_pad", "_shortcut_conv"))}
    skipped = {name.removesuffix(suffix) for name in layers for suffix in _SKIPS if name.endswith(suffix)}
    return {"skip_everywhere": changed <= skipped} if changed else {}


def _order(layers: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the order, given by the last layer of the first residual and by the activation after the last unit."""
    unit = "stage1_unit1"
    following = [layers[f"{unit}{suffix}"] for suffix in _AFTER_RESIDUAL if f"{unit}{suffix}" in layers]
    following_inputs = keras.tree.flatten([layer.input for layer in following])
    last_kinds = {
        match[1]
        for name, layer in layers.items()
        if (match := re.fullmatch(rf"{unit}_(conv|bn|relu)\d", name))
        and any(layer.output is tensor for tensor in following_inputs)
    }
    head = [kind for kind in ("bn", "relu") if f"head_{kind}" in layers]
    for order in ORDERS:
        before, residual, _ = expand(order, 2)
        if last_kinds == {residual[-1][0]} and head == [kind for kind, _ in before]:
            return {"order": order}
    return {}
