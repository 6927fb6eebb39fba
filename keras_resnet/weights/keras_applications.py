"""The weights of keras.applications' ResNet50, 101 and 152 and their V2, in this package's layout.

Those nets are the papers' with option B, but for biases on their convolutions and another epsilon in batch norm. Both
are taken into batch norm's moving statistics, so that the logits stay the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from ..models.spec import Spec
from .pretrained import HEAD, Pretrained

EPSILON = 1.001e-5  # of their batch norms
# How their images are normalised: `keras.applications.imagenet_utils.preprocess_input` in the modes "caffe" and "tf".
V1 = {
    "layout": {"stride_on": "1x1"},
    "mean": np.array([123.68, 116.779, 103.939]),
    "deviation": np.ones(3),
    "reversed_channels": True,
}
V2 = {
    "layout": {"stem": "unactivated", "downsample": "last_unit", "stride_on": "3x3"},
    "mean": np.full(3, 127.5),
    "deviation": np.full(3, 127.5),
}


def is_one(layers: Iterable[str]) -> bool:
    """Whether layers of these names are those of a keras.applications ResNet."""
    return "conv1_conv" in layers


def layers_of(model: keras.Model) -> list[keras.layers.Layer]:
    """A model's layers, and in place of a model among them its layers."""
    return [layer for layer in model._flatten_layers() if not isinstance(layer, keras.Model)]


def carried_over(source: keras.Model, spec: Spec, called: str = "", **known: Any) -> Pretrained:
    """The weights of a keras.applications ResNet.

    Args:
        source: `keras.applications.ResNet50(...)`, 101 or 152, or their V2; or a model that one of them is a part of,
            with a dense layer of any name behind it.
        spec: the network that will take them; its `bn_epsilon` is reckoned with.
        called: what messages call it.
        **known: further fields of `Pretrained`.

    Raises:
        ValueError: its images are scaled by layers of its own, so that they are not `preprocess_input`'s.
    """
    called, layers = called or f"keras.applications' {source.name!r}", layers_of(source)
    if scaling := [layer.name for layer in layers if isinstance(layer, _SCALING)]:
        raise _scaled(called, scaling[0])
    tensors = {
        f"{layer.name}/{variable.name}": keras.ops.convert_to_numpy(variable)
        for layer in layers
        for variable in layer.weights
    }
    norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    return taken_over(called, tensors, spec, {layer.name: layer.epsilon for layer in norms}, **known)


def taken_over(
    called: str,
    theirs: Mapping[str, np.ndarray],
    spec: Spec,
    epsilons: Mapping[str, float] | None = None,
    **known: Any,
) -> Pretrained:
    """The same from its tensors, "conv1_conv/kernel"; of batch norms whose epsilon is not told, it is `EPSILON`.

    Raises:
        ValueError: tensors are missing, or the images are scaled by a layer of the network.
    """
    if scaling := [name for name in theirs if name.endswith("/variance")]:
        raise _scaled(called, scaling[0].split("/")[0])
    preactivated = "post_bn/gamma" in theirs
    dense = {name.split("/")[0] for name, value in theirs.items() if name.endswith("/kernel") and value.ndim == 2}
    tensors = {}
    for name, value in theirs.items():
        layer, variable = name.split("/")
        here = HEAD + variable if dense == {layer} else name_here(name, preactivated)
        tensors[here] = value.astype("float32")
        if variable == "moving_variance":
            tensors[here] += (epsilons or {}).get(layer, EPSILON) - spec.bn_epsilon
    try:
        (_fold_biases_v2 if preactivated else _fold_biases_v1)(tensors)
    except KeyError as missing:
        raise ValueError(f"{called} is no whole ResNet of keras.applications: it lacks {missing.args[0]}.") from None
    told = V2 if preactivated else V1
    if tensors["stem_conv/kernel"].shape[2] != 3:  # it was never given what `preprocess_input` makes
        told = {"layout": told["layout"]}
    return Pretrained(called, tensors, **{**told, **known})


_SCALING = (keras.layers.Normalization, keras.layers.Rescaling)


def _scaled(called: str, layer: str) -> ValueError:
    return ValueError(
        f"{called} scales its images by a layer of its own, {layer!r}, and not as keras.applications' "
        "`preprocess_input` does. Save the ResNet within it without that layer, and say `include_preprocessing=False`."
    )


def name_here(name: str, preactivated: bool = False) -> str:
    """conv1_bn/gamma -> stem_bn/gamma, conv3_block2_0_conv/kernel -> stage2_unit2_shortcut_conv/kernel.

    A preactivated unit begins with "preact_bn", so that its other batch norms are numbered one higher here.
    """
    layer, variable = name.split("/")
    layer = {"conv1_conv": "stem_conv", "conv1_bn": "stem_bn", "post_bn": "head_bn", "predictions": "logits"}.get(
        layer, layer
    )
    if match := re.fullmatch(r"conv(\d)_block(\d+)_(\d|preact)_(conv|bn)", layer):
        conv, block, place, kind = match.groups()
        if place == "0":
            part = f"shortcut_{kind}"
        elif place == "preact":
            part = "bn1"
        else:
            part = f"{kind}{int(place) + (preactivated and kind == 'bn')}"
        layer = f"stage{int(conv) - 1}_unit{block}_{part}"
    return f"{layer}/{variable}"


def _fold_biases_v1(tensors: dict[str, np.ndarray]) -> None:
    """The batch norm behind a convolution takes its bias off again, so its mean can do without."""
    for name in [name for name in tensors if re.search(r"_conv\d?/bias$", name)]:
        tensors[re.sub(r"conv(\d?)/bias", r"bn\1/moving_mean", name)] -= tensors.pop(name)


def _fold_biases_v2(tensors: dict[str, np.ndarray]) -> None:
    """What a unit's biases add reaches, up to the next projection, nothing but the batch norms that units begin with.

    The stem keeps its bias, since the max-pooling behind it pads zeros.
    """
    units = sorted({tuple(map(int, found)) for found in re.findall(r"stage(\d+)_unit(\d+)_", " ".join(tensors))})
    added: Any = np.float32(0)
    for stage, unit in units:
        name = f"stage{stage}_unit{unit}"
        tensors[f"{name}_bn1/moving_mean"] -= added
        projected = tensors.pop(f"{name}_shortcut_conv/bias", None)
        added = tensors.pop(f"{name}_conv3/bias") + (added if projected is None else projected)
    tensors["head_bn/moving_mean"] -= added
