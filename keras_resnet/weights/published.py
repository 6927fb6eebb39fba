"""Which networks `weights="imagenet"` is there for, and where those weights lie. A row a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from ..models import imagenet
from ..models.spec import Spec
from .keras_applications import V1, V2

TORCH = {"stride_on": "3x3"}


class Published(NamedTuple):
    """Weights trained on ImageNet's 1,000 classes.

    Attributes:
        network: the name of the builder, here and, for its own, in keras.applications.
        address: an address on the hub; None for keras.applications' own.
        layout: the choices of `Spec` that they are for.
    """

    network: str
    address: str | None
    layout: Mapping[str, Any]


# The first row that fits what was asked for is taken. "tv_in1k" are torchvision's first weights, of the papers' recipe.
PUBLISHED = (
    Published("ResNet18", "hf://timm/resnet18.tv_in1k", {}),
    Published("ResNet34", "hf://timm/resnet34.tv_in1k", {}),
    Published("ResNet50", None, V1["layout"]),
    Published("ResNet101", None, V1["layout"]),
    Published("ResNet152", None, V1["layout"]),
    Published("ResNet50", "hf://timm/resnet50.tv_in1k", TORCH),
    Published("ResNet101", "hf://timm/resnet101.tv_in1k", TORCH),
    Published("ResNet152", "hf://timm/resnet152.tv_in1k", TORCH),
    Published("ResNet50V2", None, V2["layout"]),
    Published("ResNet101V2", None, V2["layout"]),
    Published("ResNet152V2", None, V2["layout"]),
)
# These say nothing of which weights are meant. (Those of keras.applications are fitted to any epsilon, and those of
# the hub refuse all but their own.)
NOT_TELLING = ("bn_epsilon", "bn_momentum", "zero_init_residual", "stochastic_depth")


def find(spec: Spec, chosen: Mapping[str, Any]) -> Published | None:
    """The weights for a network.

    Args:
        spec: the network.
        chosen: what its user chose of it; what they did not, the weights' layout may change.
    """
    for row in PUBLISHED:
        free = {name: getattr(spec, name) for name in (*NOT_TELLING, *row.layout)}
        agrees = all(chosen.get(name, value) == value for name, value in row.layout.items())
        if agrees and spec == replace(getattr(imagenet, row.network).spec, **free):
            return row
    return None
