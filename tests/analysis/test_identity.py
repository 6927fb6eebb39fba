"""The measures of each unit equal those that NumPy computes from the outputs of single layers."""

from __future__ import annotations

import numpy as np
import pytest

import keras_resnet
from keras_resnet.analysis.identity import NOISE, identity
from to_look_at import batches, output


def norm(x):
    return np.linalg.norm(x.reshape(len(x), -1).astype("float64"), axis=1)


def test_ratio_change_and_cosine_equal_those_of_numpy(seeded):
    model = seeded(keras_resnet.CifarResNet(8, shortcut="B"))
    ((images, _, _),) = batches()
    stem, projected = output(model, "stem_relu", images), output(model, "stage2_unit1_shortcut_bn", images)
    added = {1: (stem, "stage1_unit1_bn2"), 2: (projected, "stage2_unit1_bn2")}
    units = identity(model, batches(size=3))["units"]
    for stage, (shortcut, residual) in added.items():
        ratio = (norm(output(model, residual, images)) / norm(shortcut)).mean()
        assert units[stage - 1]["ratio"] == pytest.approx(ratio, rel=1e-3)
    first = output(model, "stage1_unit1_relu2", images)
    assert units[0]["change"] == pytest.approx((norm(first - stem) / norm(stem)).mean(), rel=1e-3)
    cosine = (first * stem).reshape(len(stem), -1).sum(axis=1) / norm(first) / norm(stem)
    assert units[0]["cosine"] == pytest.approx(cosine.mean(), rel=1e-3)
    assert (units[1]["change"], units[1]["cosine"]) == (None, None)  # where the shape changes


def test_the_effect_of_noise_equals_that_on_predictions(seeded):
    model = seeded(keras_resnet.CifarResNet(8, classifier_activation=None))
    ((images, _, _),) = batches()
    direction = np.random.default_rng(5).standard_normal(images.shape).astype("float32")
    result = identity(model, batches(), seed=5)
    clean = model.predict(images, verbose=0)
    assert [row["noise"] for row in result["noise"]] == list(NOISE)
    for row in result["noise"]:
        noisy = model.predict(images + row["noise"] * direction, verbose=0)
        assert row["logits"] == pytest.approx((norm(noisy - clean) / norm(clean)).mean(), rel=1e-2)
        assert row["decisions"] == pytest.approx(100 * (noisy.argmax(1) != clean.argmax(1)).mean(), abs=0.01)
    relative_noise = norm(direction) / norm(images)
    last = output(model, "stage3_unit1_relu2", images)
    gain = norm(output(model, "stage3_unit1_relu2", images + direction) - last) / norm(last) / relative_noise
    assert result["units"][-1]["gain"] == pytest.approx(gain.mean(), rel=1e-2)
