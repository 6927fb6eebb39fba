"""Gradients along a line equal those of a loop over its points and the network's units."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet import backend
from keras_resnet.analysis.gradients import POINTS, gradients
from to_look_at import batches


def test_correlations_equal_those_of_a_loop_over_points_and_units(seeded):
    model = seeded(keras_resnet.CifarResNet(8))
    ((images, _, _),) = batches(2)
    units = gradients(model, batches(2), draws=1, seed=3)["units"]
    line = np.stack([images[0] + (images[1] - images[0]) * i / (POINTS - 1) for i in range(POINTS)]).astype("float32")
    rng = np.random.default_rng(3)
    for unit, shape in zip(units, ((32, 32, 16), (16, 16, 32), (8, 8, 64)), strict=True):
        direction = rng.standard_normal((1, *shape)).astype("float32")
        part = keras.Model(model.input, model.get_layer(f"{unit['unit']}_relu2").output)
        gradient = backend.gradient(
            lambda x, part=part, direction=direction: keras.ops.sum(keras.ops.multiply(part(x[0]), direction)),
            part.variables,
        )
        vectors = np.concatenate([gradient([point[None]])[0].reshape(1, -1) for point in line]).astype("float64")
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        np.testing.assert_allclose(unit["matrix"], vectors @ vectors.T, atol=2e-3)
        assert unit["correlation"][0] == pytest.approx(np.mean(np.sum(vectors[1:] * vectors[:-1], axis=1)), abs=2e-3)
        assert unit["correlation"][-1] == pytest.approx(vectors[0] @ vectors[-1], abs=2e-3)


def test_half_precision_gives_similar_correlations(seeded):
    full, half = (
        gradients(seeded(keras_resnet.CifarResNet(8, dtype=dtype)), batches(2), draws=1)["units"]
        for dtype in ("float32", "mixed_bfloat16")
    )
    for one, other in zip(full, half, strict=True):
        assert one["correlation"][0] == pytest.approx(other["correlation"][0], abs=0.1)
