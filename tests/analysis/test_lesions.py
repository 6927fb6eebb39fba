"""Networks with lesions equal networks that are built without those units; `once` has more tests of them."""

from __future__ import annotations

import numpy as np
import pytest

import keras_resnet
from keras_resnet.analysis.lesions import Lesions, lesions
from to_look_at import dark, error, labelled


def test_each_unit_has_the_error_of_the_network_that_is_built_without_it(seeded):
    model = seeded(keras_resnet.CifarResNet(14, shortcut="B"))
    images, _, _ = dark(count=100)
    labels = labelled(model, images)
    result = lesions(model, [(images, labels, np.ones(len(images)))], draws=1)
    assert result["error"] == 0
    expected = {}
    for stage in (1, 2, 3):
        units = [1 if other == stage else 2 for other in (1, 2, 3)]
        smaller = keras_resnet.ResNet(
            units, (16, 32, 64), stem="cifar", input_shape=(32, 32, 3), classes=10, shortcut="B"
        )
        for layer in smaller.layers:
            layer.set_weights(model.get_layer(layer.name).get_weights())
        expected[f"stage{stage}_unit2"] = error(smaller, images, labels)
    assert len(set(expected.values())) == 3
    assert {name: result["deleted"][name] for name in expected} == pytest.approx(expected, abs=1e-3)


def test_images_of_weight_zero_do_not_count(seeded):
    model = seeded(keras_resnet.CifarResNet(8))
    images, labels, weights = dark()
    weights[10:] = 0
    expected = error(model, images[:10], labels[:10])
    assert Lesions(model, [(images, labels, weights)]).error() == pytest.approx(expected, abs=1e-3)
