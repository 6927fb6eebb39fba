"""The weights that `weights="imagenet"` means: one row for each published file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from ..models import imagenet
from ..models.spec import Spec
from . import keras_applications

KERAS, KERAS_V2 = keras_applications.V1["layout"], keras_applications.V2["layout"]
TORCH = {"stride_on": "3x3"}
TIMM_V2 = {"stem": "bare"}


class Published(NamedTuple):
    """Weights trained on ImageNet's 1,000 classes.

    Attributes:
        network: name of the builder in this package, and in keras.applications for its own weights.
        address: address on the Hugging Face hub; None for keras.applications' own weights.
        layout: fields of `Spec` that the weights need.
    """

    network: str
    address: str | None
    layout: Mapping[str, Any]


# The first row that fits the request is used. "tv_in1k" are torchvision's first weights, trained by the papers' recipe.
PUBLISHED = (
    Published("ResNet18", "hf://timm/resnet18.tv_in1k", {}),
    Published("ResNet34", "hf://timm/resnet34.tv_in1k", {}),
    Published("ResNet50", None, KERAS),
    Published("ResNet101", None, KERAS),
    Published("ResNet152", None, KERAS),
    Published("ResNet50", "hf://timm/resnet50.tv_in1k", TORCH),
    Published("ResNet101", "hf://timm/resnet101.tv_in1k", TORCH),
    Published("ResNet152", "hf://timm/resnet152.tv_in1k", TORCH),
    Published("ResNet50V2", None, KERAS_V2),
    Published("ResNet101V2", None, KERAS_V2),
    Published("ResNet152V2", None, KERAS_V2),
    Published("ResNet18V2", "hf://timm/resnetv2_18.ra4_e3600_r224_in1k", TIMM_V2),
    Published("ResNet34V2", "hf://timm/resnetv2_34.ra4_e3600_r224_in1k", TIMM_V2),
    Published("ResNet50V2", "hf://timm/resnetv2_50.a1h_in1k", TIMM_V2 | TORCH),
    Published("ResNet101V2", "hf://timm/resnetv2_101.a1h_in1k", TIMM_V2 | TORCH),
)
# Fields that do not affect which weights, or which network of torchvision, is meant. (Weights of keras.applications and
# for torchvision are adapted to any epsilon; those of the hub are refused for any but their own.)
IRRELEVANT = ("bn_epsilon", "bn_momentum", "zero_init_residual", "stochastic_depth")


def find(spec: Spec, chosen: Mapping[str, Any]) -> Published | None:
    """Returns the published weights for a network, or None if there are none.

    Args:
        spec: the network's choices.
        chosen: the fields that the user chose; the layout of the weights may determine the others.
    """
    for row in PUBLISHED:
        ignored = {name: getattr(spec, name) for name in (*IRRELEVANT, *row.layout)}
        agrees = all(chosen.get(name, value) == value for name, value in row.layout.items())
        if agrees and spec == replace(getattr(imagenet, row.network).spec, **ignored):
            return row
    return None
