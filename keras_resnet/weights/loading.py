"""What the `weights` argument of every builder does."""

from __future__ import annotations

import warnings
from pathlib import Path

import keras

from .. import saving
from ..models.spec import Spec
from . import keras_applications
from .assign import assign


def load_into(model: keras.Model, weights: str | Path, spec: Spec) -> None:
    """Gives a network its weights.

    Args:
        model: a network of this package, in its builder's layers.
        weights: "imagenet" for the weights that keras.applications publishes (they expect images that went through
            `keras.applications.resnet.preprocess_input`), or the path of a `.keras` file, whose layers are matched by
            name, or of a `.weights.h5` file, in which Keras keeps no names: shapes and order alone must fit.
        spec: the network's choices.

    Raises:
        ValueError: no weights are published for this network, or the file holds those of another.
    """
    if weights == "imagenet":
        keras_applications.load_imagenet(model, spec)
        return
    path = Path(weights)
    if path.suffix == ".keras":
        source, _ = saving.load(path)
        own = {layer.name for layer in model.layers}
        tensors = {
            layer.name: [keras.ops.convert_to_numpy(weight) for weight in layer.weights]
            for layer in source.layers
            # A trained model begins with its normalisation, which is no part of the network.
            if layer.weights and (layer.name in own or not isinstance(layer, keras.layers.Normalization))
        }
        assign(model, tensors, repr(str(path)))
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Keras only warns of a layer that the file does not have
            model.load_weights(path)
    except (ValueError, KeyError, OSError, UserWarning) as error:
        raise ValueError(f"{str(path)!r} does not fit {model.name!r}: {' '.join(str(error).split())}") from error
