"""Signals and gradients follow He et al. 2016, equations 3 to 8."""

from __future__ import annotations

import numpy as np
import pytest

import keras_resnet
from keras_resnet.analysis.propagation import propagation
from to_look_at import batches, output


def units(model, **choices):
    return propagation(model, batches(4, **choices))["units"]


def test_the_gradient_passes_identities_unchanged():
    """Equation 5 with residuals of zero: within a stage, every unit's gradient is that of the last."""
    rows = units(keras_resnet.CifarResNet(14, order="full_preactivation", zero_init_residual=True))
    for stage in (rows[0:3], rows[3:5], rows[5:7]):
        assert [unit["gradient"] for unit in stage] == pytest.approx([stage[0]["gradient"]] * len(stage), rel=1e-4)
        assert [unit["signal"] for unit in stage] == pytest.approx([stage[0]["signal"]] * len(stage), rel=1e-4)


def test_signal_and_gradient_equal_those_of_numpy(seeded):
    model = seeded(keras_resnet.CifarResNet(8))
    ((images, labels, _),) = batches(4)
    rows = units(model, size=3)
    for unit, layer in zip(rows, ["stem_relu", *(f"stage{s}_unit1_relu2" for s in (1, 2, 3))], strict=True):
        x = output(model, layer, images).reshape(4, -1)
        assert unit["signal"] == pytest.approx(np.sqrt((x**2).mean(axis=1)).mean(), rel=1e-3)
    # The last unit's output is averaged by channel: d loss / d x = W (p - onehot) / positions.
    pooled = output(model, "avg_pool", images)
    kernel, bias = (np.asarray(value, "float64") for value in model.get_layer("logits").get_weights())
    logits = pooled @ kernel + bias
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = p / p.sum(axis=1, keepdims=True) - np.eye(10)[labels]
    by_channel = p @ kernel.T / 64
    assert rows[-1]["gradient"] == pytest.approx((8 * np.linalg.norm(by_channel, axis=1)).mean(), rel=1e-3)
