"""Networks with lesions are tested on every backend; what is the same on all of them is in `once`."""

from __future__ import annotations

import pytest

import keras_resnet
from keras_resnet.analysis.lesions import Lesions
from to_look_at import dark, error


def test_images_of_weight_zero_do_not_count(seeded):
    model = seeded(keras_resnet.CifarResNet(8))
    images, labels, weights = dark()
    weights[10:] = 0
    expected = error(model, images[:10], labels[:10])
    assert Lesions(model, [(images, labels, weights)]).error() == pytest.approx(expected, abs=1e-3)
