"""This package's networks, built so that they can be compared with those of other libraries."""

from __future__ import annotations

from typing import Any


def choices(model: str) -> dict[str, Any]:
    """Builder arguments with which a network computes the same as its peers.

    The bottlenecks of torchvision, timm, KerasHub and flax have their stride in the 3x3 convolution. Those of He et al.
    2015 and of keras.applications have it in the first 1x1 convolution, which makes ResNet-50 6 % less work.
    """
    from keras_resnet.models.catalog import find

    spec = find(model).spec
    has_peers = (spec.stem, spec.unit, spec.order) == ("imagenet", "bottleneck", "original")
    return {"stride_on": "3x3"} if has_peers else {}


def build(model: str, image_size: int, precision: str | None = None) -> Any:
    """Builds a network that returns logits.

    Args:
        model: its name, such as "resnet50".
        image_size: side of its square RGB images in pixels.
        precision: dtype policy of Keras.
    """
    from keras_resnet.models.catalog import find

    shape = (image_size, image_size, 3)
    return find(model)(input_shape=shape, classifier_activation=None, dtype=precision, **choices(model))
