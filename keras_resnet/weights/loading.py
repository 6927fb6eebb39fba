"""What the `weights` argument of every builder does."""

from __future__ import annotations

import re
from pathlib import Path

import keras

from ..models.spec import Spec
from . import keras_applications


def load_into(model: keras.Model, weights: str | Path, spec: Spec) -> None:
    """Gives a network its weights.

    Args:
        model: a network of this package, in its builder's layers.
        weights: "imagenet" for the weights that keras.applications publishes (they expect images that went through
            `keras.applications.resnet.preprocess_input`), or the path of a `.weights.h5` or `.keras` file.
        spec: the network's choices.

    Raises:
        ValueError: no weights are published for this network, or the file holds those of another.
    """
    if weights == "imagenet":
        keras_applications.load_imagenet(model, spec)
        return
    try:
        model.load_weights(weights)
    except (ValueError, KeyError, OSError) as error:
        reason = re.sub(r"\s+", " ", str(error)).strip().split(". ")[0]
        raise ValueError(f"`weights={str(weights)!r}` does not fit {model.name!r}: {reason}") from error
