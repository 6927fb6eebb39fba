"""Carries the weights of keras.applications' ResNet50, 101 and 152 over.

Those nets are He et al. 2015's with option B, but for a bias on every convolution, which the batch norm behind it
undoes, and another epsilon. Both are taken into the batch norm's moving statistics, so that the logits stay the same.
"""

from __future__ import annotations

import re
from dataclasses import replace

import keras
import numpy as np

from ..models.imagenet import ResNet50, ResNet101, ResNet152
from ..models.spec import Spec
from .assign import assign

PUBLISHED = {"ResNet50": ResNet50, "ResNet101": ResNet101, "ResNet152": ResNet152}


def load_imagenet(model: keras.Model, spec: Spec) -> None:
    """Builds keras.applications' network with its published weights (downloading them) and carries them over.

    Raises:
        ValueError: keras.applications has no such network.
    """
    # Epsilon and momentum of batch norm and what works in training alone do not change what the weights mean.
    free = {
        name: getattr(spec, name) for name in ("bn_epsilon", "bn_momentum", "zero_init_residual", "stochastic_depth")
    }
    for name, architecture in PUBLISHED.items():
        if spec == replace(architecture.spec, **free):
            top = any(layer.name == "logits" for layer in model.layers)
            carry_over(getattr(keras.applications, name)(include_top=top, weights="imagenet"), model)
            return
    raise ValueError(
        f"No ImageNet weights are published for {model.name!r} as asked. They are for {', '.join(PUBLISHED)} with "
        "shortcut='B', stride_on='1x1' and every other choice as it comes. Pass `weights=None` or a file."
    )


def carry_over(source: keras.Model, target: keras.Model) -> int:
    """Copies the weights of a keras.applications ResNet (version 1) into the network of this package.

    Args:
        source: `keras.applications.ResNet50(...)`, 101 or 152.
        target: `keras_resnet.ResNet50(...)` of the same depth and classes.

    Returns:
        The number of layers whose weights were carried over: all that have any.

    Raises:
        ValueError: a layer that only one of the two networks has; the message names it.
    """
    epsilon = {
        layer.name: layer.epsilon for layer in target.layers if isinstance(layer, keras.layers.BatchNormalization)
    }
    weights = {}
    for layer in source.layers:
        if not layer.weights:
            continue
        name = _renamed(layer.name)
        values = [np.asarray(keras.ops.convert_to_numpy(weight)) for weight in layer.weights]
        if isinstance(layer, keras.layers.Conv2D):
            values = values[:1]  # the bias goes to the batch norm
        elif isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = values
            bias = keras.ops.convert_to_numpy(source.get_layer(re.sub("bn$", "conv", layer.name)).bias)
            values = [gamma, beta, mean - bias, variance + (layer.epsilon - epsilon.get(name, layer.epsilon))]
        weights[name] = values
    return assign(target, weights, f"keras.applications' {source.name!r}")


def _renamed(name: str) -> str:
    """conv1_bn -> stem_bn, conv3_block2_0_conv -> stage2_unit2_shortcut_conv, predictions -> logits."""
    if match := re.fullmatch(r"conv(\d)_block(\d+)_(\d)_(conv|bn)", name):
        conv, block, number, kind = match.groups()
        place = f"shortcut_{kind}" if number == "0" else f"{kind}{number}"
        return f"stage{int(conv) - 1}_unit{block}_{place}"
    return {"conv1_conv": "stem_conv", "conv1_bn": "stem_bn", "predictions": "logits"}.get(name, name)
