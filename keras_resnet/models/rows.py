"""Every choice that the two papers make in a residual network, one row each.

Nothing here computes: `units.py` and `shortcuts.py` read the rows, `spec.py` checks names against them, and the
command line lists them. A new idea from a new paper should cost one row here and one test.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

# He et al. 2016, figure 4: what stands around the convolutions, written for a unit of two; "+" adds the shortcut.
ORDERS = {
    "original": "conv bn relu conv bn + relu",
    "bn_after_addition": "conv bn relu conv + bn relu",
    "relu_before_addition": "conv bn relu conv bn relu +",
    "relu_only_preactivation": "relu conv bn relu conv bn +",
    "full_preactivation": "bn relu conv bn relu conv +",
}


class Convolution(NamedTuple):
    kernel: int
    widening: int  # output channels as a multiple of the stage's filters


# He et al. 2015, figure 5; the one-layer unit is 2016's table 3.
UNITS = {
    "one_layer": (Convolution(3, 1),),
    "basic": (Convolution(3, 1), Convolution(3, 1)),
    "bottleneck": (Convolution(1, 1), Convolution(3, 1), Convolution(1, 4)),
}


class Shortcut(NamedTuple):
    changed: str | None  # where the shape changes
    same: str | None  # where it does not


# He et al. 2015, section 3.3 and table 3.
SHORTCUTS = {
    "A": Shortcut(changed="zero_padding", same="skip"),
    "B": Shortcut(changed="projection", same="skip"),
    "C": Shortcut(changed="projection", same="projection"),
    None: Shortcut(changed=None, same=None),  # a plain net
}


class Skip(NamedTuple):
    shortcut: str  # what multiplies the shortcut
    residual: str  # what multiplies the residual
    numbers: Mapping[str, float] = MappingProxyType({})  # the numbers it takes, and what they are unless given


# He et al. 2016, table 1. g is the gate sigmoid(W x + b), a 1x1 convolution; "conv" in all units is option C.
SKIPS = {
    "identity": Skip("1", "1"),
    "constant_scaling": Skip("shortcut_scale", "residual_scale", {"shortcut_scale": 0.5, "residual_scale": 0.5}),
    "exclusive_gating": Skip("1 - g", "g", {"gate_bias": -6.0}),
    "shortcut_only_gating": Skip("1 - g", "1", {"gate_bias": -6.0}),
    "conv": Skip("conv", "1"),
    "dropout": Skip("dropout", "1", {"skip_dropout": 0.5}),
}


class Stem(NamedTuple):
    kernel: int
    stride: int
    pool: bool  # a 3x3 max-pooling of stride 2 behind it
    image_size: int  # pixels, where the user names no input shape
    activated: bool = True  # batch norm and ReLU behind the convolution; else a bias, and the first unit activates


STEMS = {
    "imagenet": Stem(kernel=7, stride=2, pool=True, image_size=224),
    "cifar": Stem(kernel=3, stride=1, pool=False, image_size=32),
    "unactivated": Stem(kernel=7, stride=2, pool=True, image_size=224, activated=False),  # keras.applications' V2
}

# How a stage halves the map: in a convolution of its first unit, in a 2x2 max-pooling before it, or (as in
# keras.applications' V2) in a convolution of the last unit of the stage before, whose shortcut then is every second
# position.
DOWNSAMPLES = ("stride", "max_pool", "last_unit")

# Which convolution of a bottleneck unit carries the stride: the paper's first 1x1, or "v1.5"'s 3x3.
STRIDES_ON = ("1x1", "3x3")
