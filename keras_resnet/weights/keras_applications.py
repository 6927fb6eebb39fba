"""The weights of keras.applications' ResNet50, 101 and 152 and their V2, in this package's layout.

Those nets are the papers' with option B, but for biases on their convolutions and another epsilon in batch norm. Both
are taken into batch norm's moving statistics, so that the logits stay the same.
"""

from __future__ import annotations

import re
from typing import Any

import keras
import numpy as np

from ..models.spec import Spec
from .pretrained import Pretrained, tensors_of

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


def carried_over(source: keras.Model, spec: Spec, **known: Any) -> Pretrained:
    """The weights of a keras.applications ResNet.

    Args:
        source: `keras.applications.ResNet50(...)`, 101 or 152, or their V2.
        spec: the network that will take them; its `bn_epsilon` is reckoned with.
        **known: further fields of `Pretrained`.
    """
    preactivated = any(layer.name == "post_bn" for layer in source.layers)
    names = {name: name_here(name, preactivated) for name in tensors_of(source)}
    tensors = {names[name]: value.copy() for name, value in tensors_of(source).items()}
    for layer in source.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            tensors[names[f"{layer.name}/moving_variance"]] += layer.epsilon - spec.bn_epsilon
    (_fold_biases_v2 if preactivated else _fold_biases_v1)(tensors)
    return Pretrained(f"keras.applications' {source.name!r}", tensors, **{**(V2 if preactivated else V1), **known})


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
    for name in [name for name in tensors if name.endswith("/bias") and not name.startswith("logits")]:
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
