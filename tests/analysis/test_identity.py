"""The measures of each unit equal those that NumPy computes from the outputs of single layers."""

from __future__ import annotations

import pytest

import keras_resnet
from keras_resnet.analysis.identity import identity
from to_look_at import batches, norm, output


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
