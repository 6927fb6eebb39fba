"""Measures of units in networks for which they are known in advance, and wrong arguments."""

from __future__ import annotations

import numpy as np
import pytest

import keras_resnet
from keras_resnet.analysis.identity import NOISE, identity
from to_look_at import batches, norm, output, stranger


def test_the_depth_used_is_that_of_the_units_with_a_residual(seeded):
    """In ResNet-20, with zero residuals in all but two units."""
    model = seeded(keras_resnet.CifarResNet(20, order="full_preactivation"))
    for layer in model.layers:
        if layer.name.endswith("_conv2") and layer.name not in ("stage1_unit2_conv2", "stage3_unit2_conv2"):
            layer.set_weights([0 * value for value in layer.get_weights()])
    result = identity(model, batches())
    ratios = [unit["ratio"] for unit in result["units"] if unit["ratio"]]
    assert len(ratios) == 2
    assert result["depth_used"] == pytest.approx(sum(ratios) ** 2 / sum(ratio**2 for ratio in ratios), abs=0.01)
    assert 1 <= result["depth_used"] <= 2


@pytest.mark.parametrize("order", ["original", "full_preactivation"])
def test_units_whose_residual_is_zero_are_the_identity(order):
    result = identity(keras_resnet.CifarResNet(14, zero_init_residual=True, order=order), batches(2))
    for unit in result["units"]:
        assert unit["ratio"] == 0
        assert unit["change"] in (0, None)
        assert unit["cosine"] in (pytest.approx(1), None)
    assert result["depth_used"] is None


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


def test_a_black_image_does_not_count_as_one_without_gain(seeded):
    """Noise cannot be related to an image of zeros."""
    model = seeded(keras_resnet.CifarResNet(8))
    ((images, labels, weights),) = batches(4)
    dark = [(np.concatenate([images, 0 * images]), np.tile(labels, 2), np.tile(weights, 2))]
    alone, together = identity(model, [(images, labels, weights)]), identity(model, dark)
    # The noise of the first images is the same.
    assert together["units"][-1]["gain"] == pytest.approx(alone["units"][-1]["gain"], rel=1e-3)


def test_small_ratios_keep_their_digits(seeded):
    """Residuals a hundred thousand times weaker are only 0.00001 or so of the shortcut; five decimals would not do."""
    ratios = {}
    for scale in (1.0, 1e-5):
        model = seeded(keras_resnet.CifarResNet(8, order="full_preactivation"))
        layer = model.get_layer("stage1_unit1_conv2")
        layer.set_weights([scale * value for value in layer.get_weights()])
        ratios[scale] = identity(model, batches(2))["units"][0]["ratio"]
    assert ratios[1e-5] == pytest.approx(1e-5 * ratios[1.0], rel=1e-3)


def test_a_plain_network_has_no_ratio(seeded):
    result = identity(seeded(keras_resnet.CifarResNet(8, shortcut=None)), batches())
    assert [unit["ratio"] for unit in result["units"]] == [None] * 3
    assert result["units"][0]["change"] > 0


def test_other_models_and_no_images_are_refused():
    with pytest.raises(ValueError, match="is not a network of keras_resnet"):
        identity(stranger(), batches())
    with pytest.raises(ValueError, match="no images"):
        identity(keras_resnet.CifarResNet(8), [])
