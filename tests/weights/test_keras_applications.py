"""A network computes what one of keras.applications computes, from its weights; further tests are in `once`."""

import keras
import numpy as np

import keras_resnet
from comparing import alike, call
from keras_resnet.weights.keras_applications import from_model
from references import SMALL, like_keras_applications


def test_its_weights_compute_the_same_as_in_keras_applications(seeded):
    """For V2, whose layout differs from the paper's."""
    shape = {"input_shape": (64, 64, 3), "include_top": False}
    theirs = seeded(like_keras_applications("ResNet50V2", **shape))
    weights = from_model(theirs, keras_resnet.ResNet50V2.spec)
    raw = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    expected = call(theirs, keras.applications.resnet_v2.preprocess_input(raw.copy()))
    alike(call(keras_resnet.ResNet50V2(weights=weights, **SMALL, **shape), raw), expected)
