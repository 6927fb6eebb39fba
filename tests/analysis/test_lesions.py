"""Networks with lesions are the networks that one would build without those units."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet.analysis import lesions as module
from keras_resnet.analysis.lesions import Lesions, lesions
from keras_resnet.models.taps import any_size


def data(count=40, classes=10):
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 2, (count, 32, 32, 3)).astype("float32")
    return images, rng.integers(0, classes, count), np.ones(count)


def batches(size=16, **choices):
    images, labels, weights = data(**choices)
    return [(images[a : a + size], labels[a : a + size], weights[a : a + size]) for a in range(0, len(images), size)]


def error(model, images, labels):
    """Top-1, of a network as it is."""
    return 100 * float((np.asarray(model.predict(images, verbose=0)).argmax(axis=1) != labels).mean())


def labelled(model, images):
    """Labels that the network itself gives, so that its error is zero and any change of it shows."""
    return np.asarray(model.predict(images, verbose=0)).argmax(axis=1)


@pytest.mark.parametrize("choices", [{}, {"shortcut": None}, {"order": "full_preactivation"}])
def test_the_whole_network_has_its_own_error(seeded, choices):
    model = seeded(keras_resnet.CifarResNet(20, **choices))
    images, labels, _ = data()
    assert Lesions(model, batches()).error() == pytest.approx(error(model, images, labels), abs=1e-3)


def test_a_network_made_for_any_size_has_the_error_of_the_one_it_was_made_of(seeded):
    model = seeded(keras_resnet.CifarResNet(8))
    images, labels, _ = data()
    assert Lesions(any_size(model), batches()).error() == pytest.approx(error(model, images, labels), abs=1e-3)


def test_what_memory_does_not_hold_is_computed_anew(seeded, monkeypatch):
    model = seeded(keras_resnet.CifarResNet(20))
    whole = Lesions(model, batches())
    monkeypatch.setattr(module, "KEPT", 3 * 40 * 16 * 32 * 32 * 4)  # three maps of the first stage
    some = Lesions(model, batches())
    assert 1 < len(some._before) < len(whole._before) == 10
    for without in some.names[1:3], some.names[-1:], []:
        order = [name for name in some.names if name not in without]
        assert some.error(order) == whole.error(order)


def test_a_unit_that_halves_the_map_stays_though_images_may_have_any_size(seeded):
    """In keras.applications' V2, the last of a stage halves it and widens nothing."""
    choices = {"stem": "cifar", "downsample": "last_unit", "order": "full_preactivation", "shortcut": "B"}
    model = seeded(keras_resnet.ResNet((2, 1), (16, 16), input_shape=(None, None, 3), classes=10, **choices))
    assert Lesions(model, batches()).movable == ["stage1_unit1", "stage2_unit1"]


@pytest.mark.parametrize(
    "choices", [{"shortcut": "B"}, {"shortcut": None}, {"shortcut": "B", "order": "full_preactivation"}]
)
def test_without_a_unit_it_is_the_network_that_is_built_without_it(seeded, choices):
    """ResNet-20 has three units a stage; without the last of stage 2 it is a network of 3, 2 and 3."""
    model = seeded(keras_resnet.CifarResNet(20, **choices))
    other = keras_resnet.ResNet((3, 2, 3), (16, 32, 64), stem="cifar", input_shape=(32, 32, 3), classes=10, **choices)
    for layer in other.layers:
        layer.set_weights(model.get_layer(layer.name).get_weights())
    images, _, _ = data()
    labels = labelled(model, images)
    seen = [(images, labels, np.ones(len(images)))]
    network = Lesions(model, seen)
    without = [name for name in network.names if name != "stage2_unit3"]
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
    model = seeded(keras_resnet.CifarResNet(20))
    images, _, _ = data()
    labels = labelled(model, images)
    network = Lesions(model, [(images, labels, np.ones(len(images)))])
    order = [{"stage3_unit2": "stage3_unit3", "stage3_unit3": "stage3_unit2"}.get(name, name) for name in network.names]
    found = network.error(order)
    other = keras_resnet.CifarResNet(20)
    for layer in other.layers:
        name = layer.name
        name = name.replace("unit2", "X").replace("unit3", "unit2").replace("X", "unit3") if "stage3" in name else name
        layer.set_weights(model.get_layer(name).get_weights())
    assert found == pytest.approx(error(other, images, labels), abs=1e-3)


def test_units_that_halve_the_map_stay():
    network = Lesions(keras_resnet.CifarResNet(20), batches())
    assert [name for name in network.names if name not in network.movable] == ["stage2_unit1", "stage3_unit1"]


def test_images_of_weight_zero_do_not_count(seeded):
    model = seeded(keras_resnet.CifarResNet(8))
    images, labels, weights = data()
    weights[10:] = 0
    expected = error(model, images[:10], labels[:10])
    assert Lesions(model, [(images, labels, weights)]).error() == pytest.approx(expected, abs=1e-3)


def test_what_is_found():
    found = lesions(keras_resnet.CifarResNet(20), batches(), draws=2)
    assert list(found["deleted"]) == [
        f"stage{s}_unit{u}" for s in (1, 2, 3) for u in (1, 2, 3) if (s, u) not in ((2, 1), (3, 1))
    ]
    assert [row["units"] for row in found["several"]] == [row["swaps"] for row in found["swapped"]]
    assert [row["units"] for row in found["several"]] == [1, 2, 3, 4, 5, 6]
    assert all(0 <= row["error"] <= 100 for row in (*found["several"], *found["swapped"]))
    assert all(-1 <= row["correlation"] < 1 for row in found["swapped"][:1])
    assert lesions(keras_resnet.CifarResNet(8), batches(), draws=1)["deleted"].keys() == {"stage1_unit1"}


def test_what_cannot_be_looked_at_is_refused():
    with pytest.raises(ValueError, match="is no network of keras_resnet"):
        lesions(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]), batches())
    with pytest.raises(ValueError, match="no images"):
        lesions(keras_resnet.CifarResNet(8), [])
