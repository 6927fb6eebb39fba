"""Gradients along a line: what Balduzzi et al. 2017 say of plain and of residual networks, and what has none."""

from __future__ import annotations

import numpy as np
import pytest

import keras_resnet
from keras_resnet.analysis.gradients import gradients
from to_look_at import batches, stranger


def test_the_deeper_a_plain_network_the_less_do_gradients_have_in_common_and_shortcuts_keep_them_alike(seeded):
    found = {
        shortcut: [
            unit["correlation"][0]
            for unit in gradients(seeded(keras_resnet.CifarResNet(32, shortcut=shortcut)), batches(2), draws=1)["units"]
        ]
        for shortcut in (None, "A")
    }
    for correlations in found.values():
        assert len(correlations) == 8
        assert correlations[0] > correlations[3] > correlations[-1]
        assert correlations[0] > 0.9
    assert 1 - found[None][-1] > 2 * (1 - found["A"][-1])


def test_of_the_same_image_twice_they_are_the_same(seeded):
    ((images, labels, _),) = batches(1)
    twice = [(np.repeat(images, 2, axis=0), np.repeat(labels, 2), np.ones(2))]
    for unit in gradients(seeded(keras_resnet.CifarResNet(8)), twice, draws=1)["units"]:
        np.testing.assert_allclose(unit["correlation"], 1, atol=1e-3)


def test_what_has_no_line_is_refused():
    with pytest.raises(ValueError, match="fewer than two"):
        gradients(keras_resnet.CifarResNet(8), batches(1))
    with pytest.raises(ValueError, match="no images"):
        gradients(keras_resnet.CifarResNet(8), [])
    with pytest.raises(ValueError, match="is not a network of keras_resnet"):
        gradients(stranger(), batches())
