"""What the tests of evaluation share: a network whose scores are the pixels, so that NumPy knows the answers."""

from __future__ import annotations

import keras
import pytest


@pytest.fixture
def pixels():
    """Makes the model: a class a pixel. It ends in "softmax" of a tenth of the pixels, or in "linear", or in none."""

    def make(shape=(2, 2, 3), end=None):
        layers = [keras.Input(shape), keras.layers.Flatten()]
        if end is not None:
            layers += [keras.layers.Rescaling(0.1), keras.layers.Activation(end)]
        return keras.Sequential(layers, name="pixels")

    return make
