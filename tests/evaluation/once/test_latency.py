"""The latency is the duration of one call, independent of how long the first calls take."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_resnet import ResNet20
from keras_resnet.evaluation.latency import latency


class Clock:
    """Replaces both a network, whose calls take the given milliseconds, and the clock that measures them."""

    inputs = (keras.KerasTensor((None, None, 24, 3)),)

    def __init__(self, monkeypatch, *milliseconds):
        self.milliseconds, self.shapes, self.now = list(milliseconds), [], 0.0
        monkeypatch.setattr("time.perf_counter", lambda: self.now)

    def predict_on_batch(self, images):
        self.shapes.append(images.shape)
        self.now += (self.milliseconds.pop(0) if len(self.milliseconds) > 1 else self.milliseconds[0]) / 1000


def test_compiling_calls_and_disturbed_calls_do_not_count(monkeypatch):
    model = Clock(monkeypatch, 300, 100, 50, 5, 6, 90, 7)
    assert latency(model, batch_size=2, seconds=0.2) == pytest.approx(7, abs=1e-6)
    assert set(model.shapes) == {(2, 224, 24, 3)}
    assert len(model.shapes) == 3 + 18  # 5 + 6 + 90 + 14 * 7 = 199 ms are less than 0.2 s, with one more they are not


def test_at_least_ten_calls_of_a_slow_network_are_timed(monkeypatch):
    model = Clock(monkeypatch, 30)
    assert latency(model, seconds=0.01) == pytest.approx(30, abs=1e-6)
    assert len(model.shapes) == 13


def test_a_real_network_takes_longer_for_more_images():
    model = ResNet20()
    one, many = latency(model, seconds=0.1), latency(model, batch_size=64, seconds=0.1)
    assert 0 < one < many
    assert model.predict_on_batch(np.zeros((1, 32, 32, 3))).shape == (1, 10)


def test_the_median_is_that_of_the_calls_after_the_first_three(monkeypatch):
    """Of five calls of 10 ms and five of 20 ms; with the first three calls, it would be 20 ms."""
    model = Clock(monkeypatch, 300, 100, 50, *5 * [10], 20)
    assert latency(model, seconds=0.01) == pytest.approx(15, abs=1e-6)
    assert len(model.shapes) == 13
