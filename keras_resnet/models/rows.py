"""The variants of residual networks as data: one row for each choice that the two papers compare.

This module computes nothing: `units.py` and `shortcuts.py` interpret the rows, `spec.py` checks names against them, and
the command line lists them. A new idea from a new paper should cost one row here and one test.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

# He et al. 2016, figure 4: the layers of a unit of two convolutions, in order; "+" adds the shortcut.
ORDERS = {
    "original": "conv bn relu conv bn + relu",
    "bn_after_addition": "conv bn relu conv + bn relu",
    "relu_before_addition": "conv bn relu conv bn relu +",
    "relu_only_preactivation": "relu conv bn relu conv bn +",
    "full_preactivation": "bn relu conv bn relu conv +",
}


class Convolution(NamedTuple):
    """A convolution of a residual unit."""

    kernel: int  # side of the kernel
    expansion: int  # output channels as a multiple of the stage's filters


# The convolutions of a unit: He et al. 2015, figure 5; the one-layer unit is in He et al. 2016, table 3.
UNITS = {
    "one_layer": (Convolution(3, 1),),
    "basic": (Convolution(3, 1), Convolution(3, 1)),
    "bottleneck": (Convolution(1, 1), Convolution(3, 1), Convolution(1, 4)),
}


class Shortcut(NamedTuple):
    """What the shortcut of a unit is: "zero_padding", "projection", "skip" (a row of `SKIPS`), or None."""

    changed: str | None  # in units that change the shape
    same: str | None  # in units that keep it


# Options A, B and C: He et al. 2015, section 3.3 and table 3.
SHORTCUTS = {
    "A": Shortcut(changed="zero_padding", same="skip"),
    "B": Shortcut(changed="projection", same="skip"),
    "C": Shortcut(changed="projection", same="projection"),
    None: Shortcut(changed=None, same=None),  # a plain network
}


class Skip(NamedTuple):
    """The factors of a skip, interpreted by `shortcuts.skip`."""

    shortcut: str  # what multiplies the shortcut
    residual: str  # what multiplies the residual
    numbers: Mapping[str, float] = MappingProxyType({})  # the fields of `Spec` that it uses, with their defaults


# He et al. 2016, table 1. "g" is the gate sigmoid(W x + b), a 1x1 convolution; "conv" in all units equals option C.
SKIPS = {
    "identity": Skip("1", "1"),
    "constant_scaling": Skip("shortcut_scale", "residual_scale", {"shortcut_scale": 0.5, "residual_scale": 0.5}),
    "exclusive_gating": Skip("1 - g", "g", {"gate_bias": -6.0}),
    "shortcut_only_gating": Skip("1 - g", "1", {"gate_bias": -6.0}),
    "conv": Skip("conv", "1"),
    "dropout": Skip("dropout", "1", {"skip_dropout": 0.5}),
}


class Stem(NamedTuple):
    """The layers before the first unit: a convolution and what follows it."""

    kernel: int  # side of the convolution's kernel
    stride: int  # stride of the convolution
    pool: bool  # whether a 3x3 max-pooling of stride 2 follows
    image_size: int  # default side of the images, in pixels
    activated: bool = True  # whether batch norm and ReLU follow the convolution
    bias: bool = False  # whether the convolution has a bias
    zero_padding: bool = True  # whether the pooling pads with zeros, or takes the maximum of what is in the map


STEMS = {
    "imagenet": Stem(kernel=7, stride=2, pool=True, image_size=224),
    "cifar": Stem(kernel=3, stride=1, pool=False, image_size=32),
    # Those of keras.applications' and of timm's V2.
    "unactivated": Stem(kernel=7, stride=2, pool=True, image_size=224, activated=False, bias=True),
    "bare": Stem(kernel=7, stride=2, pool=True, image_size=224, activated=False, zero_padding=False),
}

# How a stage halves the map: by a convolution of its first unit, by a 2x2 max-pooling before it, or (as in
# keras.applications' V2) by a convolution in the last unit of the stage before, whose shortcut then takes every second
# position.
DOWNSAMPLES = ("stride", "max_pool", "last_unit")

# The convolution of a bottleneck unit that has the stride: the first 1x1, as in the paper, or the 3x3, as in "v1.5".
STRIDES_ON = ("1x1", "3x3")
