"""Networks without units or with others in their place, which units can be so, what is kept of them and told."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet.analysis import lesions as module
from keras_resnet.analysis.lesions import Lesions, lesions
from keras_resnet.models.taps import any_size
from to_look_at import batches, dark, error, labelled


@pytest.mark.parametrize("choices", [{}, {"shortcut": None}, {"order": "full_preactivation"}])
def test_the_whole_network_has_its_own_error(seeded, choices):
    model = seeded(keras_resnet.CifarResNet(14, **choices))
    images, labels, _ = dark()
    assert Lesions(model, batches(40, 16, brightest=2)).error() == pytest.approx(error(model, images, labels), abs=1e-3)


def test_a_network_made_for_any_size_has_the_error_of_the_one_it_was_made_of(seeded):
    model = seeded(keras_resnet.CifarResNet(8))
    images, labels, _ = dark()
    assert Lesions(any_size(model), batches(40, 16, brightest=2)).error() == pytest.approx(
        error(model, images, labels), abs=1e-3
    )


@pytest.mark.parametrize(
    "choices", [{"shortcut": "B"}, {"shortcut": None}, {"shortcut": "B", "order": "full_preactivation"}]
)
def test_without_a_unit_it_is_the_network_that_is_built_without_it(seeded, choices):
    """ResNet-14 has two units a stage; without the last of stage 2 it is a network of 2, 1 and 2."""
    model = seeded(keras_resnet.CifarResNet(14, **choices))
    other = keras_resnet.ResNet((2, 1, 2), (16, 32, 64), stem="cifar", input_shape=(32, 32, 3), classes=10, **choices)
    for layer in other.layers:
        layer.set_weights(model.get_layer(layer.name).get_weights())
    images, _, _ = dark()
    labels = labelled(model, images)
    network = Lesions(model, [(images, labels, np.ones(len(images)))])
    without = [name for name in network.names if name != "stage2_unit2"]
    assert network.error() == 0
    assert network.error(without) == pytest.approx(error(other, images, labels), abs=1e-3)


def test_swapped_units_are_the_network_with_their_weights_swapped(seeded):
    model = seeded(keras_resnet.CifarResNet(14))
    images, _, _ = dark()
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


def test_what_memory_does_not_hold_is_computed_anew(seeded, monkeypatch):
    model = seeded(keras_resnet.CifarResNet(20))
    whole = Lesions(model, batches(40, 16))
    monkeypatch.setattr(module, "KEPT", 3 * 40 * 16 * 32 * 32 * 4)  # three maps of the first stage
    some = Lesions(model, batches(40, 16))
    assert 1 < len(some._before) < len(whole._before) == 10
    for without in some.names[1:3], some.names[-1:], []:
        order = [name for name in some.names if name not in without]
        assert some.error(order) == whole.error(order)


def test_a_unit_that_halves_the_map_stays_though_images_may_have_any_size(seeded):
    """In keras.applications' V2, the last of a stage halves it and widens nothing."""
    choices = {"stem": "cifar", "downsample": "last_unit", "order": "full_preactivation", "shortcut": "B"}
    model = seeded(keras_resnet.ResNet((2, 1), (16, 16), input_shape=(None, None, 3), classes=10, **choices))
    assert Lesions(model, batches(40, 16)).movable == ["stage1_unit1", "stage2_unit1"]


def test_units_that_halve_the_map_stay():
    network = Lesions(keras_resnet.CifarResNet(20), batches(40, 16))
    assert [name for name in network.names if name not in network.movable] == ["stage2_unit1", "stage3_unit1"]


def test_what_is_found():
    found = lesions(keras_resnet.CifarResNet(20), batches(40, 16), draws=2)
    assert list(found["deleted"]) == [
        f"stage{s}_unit{u}" for s in (1, 2, 3) for u in (1, 2, 3) if (s, u) not in ((2, 1), (3, 1))
    ]
    assert [row["units"] for row in found["several"]] == [row["swaps"] for row in found["swapped"]]
    assert [row["units"] for row in found["several"]] == [1, 2, 3, 4, 5, 6]
    assert lesions(keras_resnet.CifarResNet(8), batches(40, 16), draws=1)["deleted"].keys() == {"stage1_unit1"}


def test_units_that_add_nothing_may_go_and_change_places_as_they_like(seeded):
    model = seeded(keras_resnet.CifarResNet(20, order="full_preactivation"))
    for layer in model.layers:
        if layer.name.endswith("_conv2"):
            layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])
    images, _, _ = dark()
    found = lesions(model, [(images, labelled(model, images), np.ones(len(images)))], draws=2)
    assert len(found["deleted"]) == 7
    assert {found["error"], *found["deleted"].values()} == {0}
    assert {row["error"] for row in (*found["several"], *found["swapped"])} == {0}


def test_lesions_make_errors_and_the_order_after_a_swap_is_as_kendalls_tau_has_it(seeded):
    """Of nine units' 36 pairs, two that change places at a distance of d turn round 2 d - 1.

    The longest stage to move in has three units.
    """
    model = seeded(keras_resnet.CifarResNet(20, shortcut="B"))
    images, _, _ = dark()
    found = lesions(model, [(images, labelled(model, images), np.ones(len(images)))], draws=2)
    assert found["error"] == 0
    assert max(found["deleted"].values()) > 0
    assert found["several"][-1]["error"] > 0
    next_door, one_between = 1 - 2 * 1 / 36, 1 - 2 * 3 / 36
    expected = [next_door, (next_door + one_between) / 2, one_between]  # of two draws
    assert min(abs(found["swapped"][0]["correlation"] - value) for value in expected) < 1e-4


def test_what_cannot_be_looked_at_is_refused():
    with pytest.raises(ValueError, match="is not a network of keras_resnet"):
        lesions(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]), batches(40, 16))
    with pytest.raises(ValueError, match="no images"):
        lesions(keras_resnet.CifarResNet(8), [])
