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
        The number of layers whose weights were carried over.

    Raises:
        ValueError: a layer with weights that one of the two networks does not have.
    """
    wanted = {layer.name for layer in target.layers if layer.weights}
    for layer in source.layers:
        if not layer.weights:
            continue
        name = _renamed(layer.name)
        if name not in wanted:
            raise ValueError(f"{source.name!r} has a layer {layer.name!r} that {target.name!r} does not have.")
        wanted.remove(name)
        values = [np.asarray(keras.ops.convert_to_numpy(weight)) for weight in layer.weights]
        twin = target.get_layer(name)
        if isinstance(layer, keras.layers.Conv2D):
            values = values[:1]  # the bias goes to the batch norm
        elif isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = values
            convolution = source.get_layer(re.sub("bn$", "conv", layer.name))
            values = [
                gamma,
                beta,
                mean - keras.ops.convert_to_numpy(convolution.bias),
                variance + (layer.epsilon - twin.epsilon),
            ]
        twin.set_weights(values)
    if wanted:
        raise ValueError(f"{source.name!r} has no weights for {', '.join(sorted(wanted))} of {target.name!r}.")
    return sum(bool(layer.weights) for layer in target.layers)


def _renamed(name: str) -> str:
    """conv1_bn -> stem_bn, conv3_block2_0_conv -> stage2_unit2_shortcut_conv, predictions -> logits."""
    if match := re.fullmatch(r"conv(\d)_block(\d+)_(\d)_(conv|bn)", name):
        conv, block, number, kind = match.groups()
        place = f"shortcut_{kind}" if number == "0" else f"{kind}{number}"
        return f"stage{int(conv) - 1}_unit{block}_{place}"
    return {"conv1_conv": "stem_conv", "conv1_bn": "stem_bn", "predictions": "logits"}.get(name, name)
