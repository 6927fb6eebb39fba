"""Networks with lesions are the networks that one would build without those units."""

from __future__ import annotations

import numpy as np
import pytest

import keras_resnet
from keras_resnet.analysis.lesions import Lesions, lesions
from keras_resnet.models.taps import any_size
from to_look_at import batches


def data(count=40):
    """All of them as one batch."""
    (batch,) = seen(count, count)
    return batch


def seen(count=40, size=16):
    """Images so dark that networks, which have no normalisation here, find many classes among them."""
    return batches(count, size, brightest=2)


def error(model, images, labels):
    """Top-1, of a network as it is."""
    return 100 * float((np.asarray(model.predict(images, verbose=0)).argmax(axis=1) != labels).mean())


def labelled(model, images):
    """Labels that the network itself gives, so that its error is zero and any change of it shows."""
    return np.asarray(model.predict(images, verbose=0)).argmax(axis=1)


@pytest.mark.parametrize("choices", [{}, {"shortcut": None}, {"order": "full_preactivation"}])
def test_the_whole_network_has_its_own_error(seeded, choices):
    model = seeded(keras_resnet.CifarResNet(14, **choices))
    images, labels, _ = data()
    assert Lesions(model, seen()).error() == pytest.approx(error(model, images, labels), abs=1e-3)


def test_a_network_made_for_any_size_has_the_error_of_the_one_it_was_made_of(seeded):
    model = seeded(keras_resnet.CifarResNet(8))
    images, labels, _ = data()
    assert Lesions(any_size(model), seen()).error() == pytest.approx(error(model, images, labels), abs=1e-3)


@pytest.mark.parametrize(
    "choices", [{"shortcut": "B"}, {"shortcut": None}, {"shortcut": "B", "order": "full_preactivation"}]
)
def test_without_a_unit_it_is_the_network_that_is_built_without_it(seeded, choices):
    """ResNet-14 has two units a stage; without the last of stage 2 it is a network of 2, 1 and 2."""
    model = seeded(keras_resnet.CifarResNet(14, **choices))
    other = keras_resnet.ResNet((2, 1, 2), (16, 32, 64), stem="cifar", input_shape=(32, 32, 3), classes=10, **choices)
    for layer in other.layers:
        layer.set_weights(model.get_layer(layer.name).get_weights())
    images, _, _ = data()
    labels = labelled(model, images)
    network = Lesions(model, [(images, labels, np.ones(len(images)))])
    without = [name for name in network.names if name != "stage2_unit2"]
    assert network.error() == 0
    assert network.error(without) == pytest.approx(error(other, images, labels), abs=1e-3)


def test_each_unit_has_the_error_of_the_network_that_is_built_without_it(seeded):
    model = seeded(keras_resnet.CifarResNet(14, shortcut="B"))
    images, _, _ = data(count=100)
    labels = labelled(model, images)
    found = lesions(model, [(images, labels, np.ones(len(images)))], draws=1)
    assert found["error"] == 0
    expected = {}
    for stage in (1, 2, 3):
        units = [1 if other == stage else 2 for other in (1, 2, 3)]
        less = keras_resnet.ResNet(units, (16, 32, 64), stem="cifar", input_shape=(32, 32, 3), classes=10, shortcut="B")
        for layer in less.layers:
            layer.set_weights(model.get_layer(layer.name).get_weights())
        expected[f"stage{stage}_unit2"] = error(less, images, labels)
    assert len(set(expected.values())) == 3
    assert {name: found["deleted"][name] for name in expected} == pytest.approx(expected, abs=1e-3)


def test_swapped_units_are_the_network_with_their_weights_swapped(seeded):
    model = seeded(keras_resnet.CifarResNet(14))
    images, _, _ = data()
    labels = labelled(model, images)
    network = Lesions(model, [(images, labels, np.ones(len(images)))])
    order = [{"stage1_unit1": "stage1_unit2", "stage1_unit2": "stage1_unit1"}.get(name, name) for name in network.names]
    found = network.error(order)
    other = keras_resnet.CifarResNet(14)
    for layer in other.layers:
        name = layer.name
        name = name.replace("unit1", "X").replace("unit2", "unit1").replace("X", "unit2") if "stage1" in name else name
        layer.set_weights(model.get_layer(name).get_weights())
    assert 0 < found == pytest.approx(error(other, images, labels), abs=1e-3)


def test_images_of_weight_zero_do_not_count(seeded):
    model = seeded(keras_resnet.CifarResNet(8))
    images, labels, weights = data()
    weights[10:] = 0
    expected = error(model, images[:10], labels[:10])
    assert Lesions(model, [(images, labels, weights)]).error() == pytest.approx(expected, abs=1e-3)
