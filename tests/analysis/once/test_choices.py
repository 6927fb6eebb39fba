"""What an analysis draws at random has the size that it states, and its numbers are means over images."""

from __future__ import annotations

import numpy as np
import pytest

import keras_resnet
from keras_resnet.analysis import paths as module
from keras_resnet.analysis.propagation import propagation
from to_look_at import batches


def test_a_path_takes_as_many_different_residuals_as_it_is_long(monkeypatch):
    taken = []

    def gradient(images, labels, through):
        taken.append(through.tolist())
        return np.ones((len(images), 3))

    monkeypatch.setattr(module, "path_gradient", lambda model: gradient)
    result = module.paths(keras_resnet.CifarResNet(14), batches(2), draws=5)
    assert [row["length"] for row in result["lengths"]] == list(range(7))
    assert [sum(through) for through in taken] == [length for length in range(7) for _ in range(5)]
    assert {each for through in taken for each in through} == {0, 1}


def test_the_signal_is_the_mean_of_the_images_own(seeded):
    """Of a bright and a dark image: not that of their pixels together, in which the bright one counts for more."""
    model = seeded(keras_resnet.CifarResNet(8))
    ((images, labels, weights),) = batches(2)
    images[1] /= 100
    together = propagation(model, [(images, labels, weights)])["units"]
    alone = [propagation(model, [(images[i : i + 1], labels[i : i + 1], weights[:1])])["units"] for i in (0, 1)]
    for both, bright, dark in zip(together, *alone, strict=True):
        assert bright["signal"] > 2 * dark["signal"]
        for name in ("signal", "gradient"):
            assert both[name] == pytest.approx((bright[name] + dark[name]) / 2, rel=1e-3)
