"""Responses are those that NumPy sees in the outputs of single layers."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet.analysis.responses import responses
from keras_resnet.models.taps import any_size


def pictures(count=10):
    return np.random.default_rng(0).uniform(0, 255, (count, 32, 32, 3)).astype("float32")


@pytest.mark.parametrize("choices", [{}, {"shortcut": None}, {"shortcut": "B"}, {"order": "full_preactivation"}])
def test_they_are_deviations_behind_batch_norm_of_all_images_at_once(seeded, choices):
    model, images = seeded(keras_resnet.CifarResNet(8, **choices)), pictures()
    found = responses(model, [(images[:6],), (images[6:],)])
    names = [layer.name for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert [row["layer"] for row in found] == [name for name in names if "shortcut" not in name]
    for row in found:
        output = keras.Model(model.input, model.get_layer(row["layer"]).output)
        values = np.asarray(output.predict(images, verbose=0))
        assert row["deviation"] == pytest.approx(float(values.std()), rel=1e-3)
        assert row["mean"] == pytest.approx(float(values.mean()), abs=1e-3 * float(values.std()))


def test_a_network_made_for_any_size_responds_as_the_one_it_was_made_of(seeded):
    model, images = seeded(keras_resnet.CifarResNet(8)), pictures()
    for found, expected in zip(responses(any_size(model), [(images,)]), responses(model, [(images,)]), strict=True):
        assert found.pop("layer") == expected.pop("layer")
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_images_of_weight_zero_do_not_count(seeded):
    model, images = seeded(keras_resnet.CifarResNet(8)), pictures()
    weights = np.array([1, 1, 1, 1, 1, 1, 0, 0, 0, 0])
    assert responses(model, [(images, None, weights)]) == responses(model, [(images[:6],)])
