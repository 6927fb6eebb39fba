"""The gradients of all paths add up to the full gradient; for other networks and their shares see `once`."""

from __future__ import annotations

import numpy as np
import pytest

import keras_resnet
from keras_resnet.analysis.paths import path_gradient, paths
from keras_resnet.models.taps import any_size
from to_look_at import batches, check_that_paths_add_up


@pytest.mark.parametrize("choices", [{}, {"dtype": "mixed_bfloat16"}])
def test_the_gradients_of_all_paths_add_up_to_the_gradient(seeded, choices):
    check_that_paths_add_up(seeded(keras_resnet.CifarResNet(8, **choices)))


def test_a_gradient_uses_the_current_weights(seeded):
    """It is zero once the logits consist of the bias alone."""
    model = seeded(keras_resnet.CifarResNet(8))
    ((images, labels, _),) = batches(3)
    one_path = path_gradient(model)
    assert np.abs(one_path(images, labels, np.ones(3))).max() > 0
    model.get_layer("logits").kernel.assign(np.zeros((64, 10)))
    assert not one_path(images, labels, np.ones(3)).any()


def test_a_network_made_for_any_size_has_the_same_paths(seeded):
    model = seeded(keras_resnet.CifarResNet(8))
    ((images, labels, _),) = batches(3)
    expected, actual = (path_gradient(each)(images, labels, np.array([1, 0, 1])) for each in (model, any_size(model)))
    np.testing.assert_allclose(actual, expected, atol=1e-5 * np.abs(expected).max())


def test_images_of_weight_zero_do_not_count(seeded):
    model = seeded(keras_resnet.CifarResNet(8))
    ((images, labels, weights),) = batches(6)
    weights[3:] = 0
    result = paths(model, [(images, labels, weights)], draws=1)
    assert result == paths(model, [(images[:3], labels[:3], np.ones(3))], draws=1)
