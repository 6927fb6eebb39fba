"""Fixtures of the evaluation tests: a network whose scores are the pixels, so that NumPy can compute the answers."""

from __future__ import annotations

import keras
import pytest


@pytest.fixture
def pixels():
    """Returns a function that builds a network whose logits are the pixels, one class per pixel.

    With `end`, the pixels are divided by ten and the last layer is this activation: "softmax" or "linear".
    """

    def make(shape=(2, 2, 3), end=None):
        layers = [keras.Input(shape), keras.layers.Flatten()]
        if end is not None:
            layers += [keras.layers.Rescaling(0.1), keras.layers.Activation(end)]
        return keras.Sequential(layers, name="pixels")

    return make
