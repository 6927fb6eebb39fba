"""A latency is the time of one call, whatever the first calls take."""

from __future__ import annotations

import time

import keras
import numpy as np
import pytest

from keras_resnet import ResNet20
from keras_resnet.evaluation.latency import latency


class Sleeper:
    """Stands for a network whose first calls compile it."""

    inputs = (keras.KerasTensor((None, None, 24, 3)),)

    def __init__(self, *milliseconds):
        self.milliseconds, self.shapes = list(milliseconds), []

    def predict_on_batch(self, images):
        self.shapes.append(images.shape)
        time.sleep((self.milliseconds.pop(0) if len(self.milliseconds) > 1 else self.milliseconds[0]) / 1000)


def test_calls_that_compile_and_calls_that_were_disturbed_do_not_count():
    model = Sleeper(300, 100, 50, 5, 5, 90, 5)
    assert latency(model, batch_size=2, seconds=0.2) == pytest.approx(5, abs=3)
    assert set(model.shapes) == {(2, 224, 24, 3)}
    assert 13 <= len(model.shapes) < 45


def test_a_few_calls_are_timed_of_a_slow_network():
    model = Sleeper(30)
    latency(model, seconds=0.01)
    assert len(model.shapes) == 13


def test_a_real_network_takes_longer_for_more_images():
    model = ResNet20()
    one, many = latency(model, seconds=0.1), latency(model, batch_size=64, seconds=0.1)
    assert 0 < one < many
    assert model.predict_on_batch(np.zeros((1, 32, 32, 3))).shape == (1, 10)
