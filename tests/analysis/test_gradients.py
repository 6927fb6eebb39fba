"""Gradients along a line: what Balduzzi et al. 2017 say of plain and of residual networks."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet import backend
from keras_resnet.analysis.gradients import POINTS, gradients
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


def test_they_are_those_of_a_loop_over_points_and_units(seeded):
    model = seeded(keras_resnet.CifarResNet(8))
    ((images, _, _),) = batches(2)
    found = gradients(model, batches(2), draws=1, seed=3)["units"]
    line = np.stack([images[0] + (images[1] - images[0]) * i / (POINTS - 1) for i in range(POINTS)]).astype("float32")
    rng = np.random.default_rng(3)
    for unit, shape in zip(found, ((32, 32, 16), (16, 16, 32), (8, 8, 64)), strict=True):
        direction = rng.standard_normal((1, *shape)).astype("float32")
        part = keras.Model(model.input, model.get_layer(f"{unit['unit']}_relu2").output)
        run = backend.gradient(
            lambda x, part=part, direction=direction: keras.ops.sum(keras.ops.multiply(part(x[0]), direction)),
            part.variables,
        )
        vectors = np.concatenate([run([point[None]])[0].reshape(1, -1) for point in line]).astype("float64")
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        np.testing.assert_allclose(unit["matrix"], vectors @ vectors.T, atol=2e-3)
        assert unit["correlation"][0] == pytest.approx(np.mean(np.sum(vectors[1:] * vectors[:-1], axis=1)), abs=2e-3)
        assert unit["correlation"][-1] == pytest.approx(vectors[0] @ vectors[-1], abs=2e-3)


def test_in_half_precision_they_are_much_the_same(seeded):
    whole, half = (
        gradients(seeded(keras_resnet.CifarResNet(8, dtype=dtype)), batches(2), draws=1)["units"]
        for dtype in ("float32", "mixed_bfloat16")
    )
    for one, other in zip(whole, half, strict=True):
        assert one["correlation"][0] == pytest.approx(other["correlation"][0], abs=0.1)


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
    with pytest.raises(ValueError, match="is no network of keras_resnet"):
        gradients(stranger(), batches())
