"""Gradients along a line: the findings of Balduzzi et al. 2017 on plain and residual networks, and wrong arguments."""

from __future__ import annotations

import numpy as np
import pytest

import keras_resnet
from keras_resnet.analysis.gradients import gradients
from to_look_at import batches, stranger


def test_gradients_decorrelate_with_depth_in_plain_networks_and_less_so_with_shortcuts(seeded):
    by_shortcut = {
        shortcut: [
            unit["correlation"][0]
            for unit in gradients(seeded(keras_resnet.CifarResNet(32, shortcut=shortcut)), batches(2), draws=1)["units"]
        ]
        for shortcut in (None, "A")
    }
    for correlations in by_shortcut.values():
        assert len(correlations) == 8
        assert correlations[0] > correlations[3] > correlations[-1]
        assert correlations[0] > 0.9
    assert 1 - by_shortcut[None][-1] > 2 * (1 - by_shortcut["A"][-1])


def test_gradients_along_a_line_from_an_image_to_itself_are_equal(seeded):
    """Lines are from the first image to the second, from the third to the fourth, and so on."""
    ((images, labels, _),) = batches(2)
    twice = [(np.repeat(images, 2, axis=0), np.repeat(labels, 2), np.ones(4))]
    for unit in gradients(seeded(keras_resnet.CifarResNet(8)), twice, draws=1)["units"]:
        np.testing.assert_allclose(unit["correlation"], 1, atol=1e-3)


def test_too_few_images_and_other_models_are_refused():
    with pytest.raises(ValueError, match=r"^The gradients along a line need at least two images, .*: 1$"):
        gradients(keras_resnet.CifarResNet(8), batches(1))
    with pytest.raises(ValueError, match="no images"):
        gradients(keras_resnet.CifarResNet(8), [])
    with pytest.raises(ValueError, match="is not a network of keras_resnet"):
        gradients(stranger(), batches())
