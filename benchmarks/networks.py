"""This package's networks, as they are timed beside those of others."""

from __future__ import annotations

from typing import Any


def choices(model: str) -> dict[str, Any]:
    """What a network of a name is built with, so that it computes what its peers do.

    The bottlenecks of torchvision, timm, KerasHub and flax stride in the 3x3 convolution; in those of 2015, and of
    keras.applications, the first 1x1 one does, which makes ResNet-50 6 % less work.
    """
    from keras_resnet.models.catalog import find

    spec = find(model).respec()
    known = (spec.stem, spec.unit, spec.order) == ("imagenet", "bottleneck", "original")
    return {"stride_on": "3x3"} if known else {}


def built(model: str, image_size: int, precision: str | None = None) -> Any:
    """The network of a name, up to its logits, for RGB images of this side in pixels, in a dtype policy of Keras."""
    from keras_resnet.models.catalog import find

    shape = (image_size, image_size, 3)
    return find(model)(input_shape=shape, classifier_activation=None, dtype=precision, **choices(model))
