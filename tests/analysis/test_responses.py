"""Responses equal those that NumPy computes from the outputs of single layers."""

from __future__ import annotations

import numpy as np
import pytest

import keras_resnet
from keras_resnet.analysis.responses import responses
from keras_resnet.models.taps import any_size
from to_look_at import check_responses, pictures


def test_responses_are_deviations_after_batch_norm_over_all_images(seeded):
    check_responses(seeded(keras_resnet.CifarResNet(8, shortcut="B")))


def test_a_network_made_for_any_size_responds_as_the_one_it_was_made_of(seeded):
    model, images = seeded(keras_resnet.CifarResNet(8)), pictures()
    for actual, expected in zip(responses(any_size(model), [(images,)]), responses(model, [(images,)]), strict=True):
        assert actual.pop("layer") == expected.pop("layer")
        assert actual == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_images_of_weight_zero_do_not_count(seeded):
    model, images = seeded(keras_resnet.CifarResNet(8)), pictures()
    weights = np.array([1, 1, 1, 1, 1, 1, 0, 0, 0, 0])
    assert responses(model, [(images, None, weights)]) == responses(model, [(images[:6],)])
