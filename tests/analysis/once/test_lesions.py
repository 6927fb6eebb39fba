"""Which units can be cut out or moved, what is kept of them, and what is told."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet.analysis import lesions as module
from keras_resnet.analysis.lesions import Lesions, lesions
from to_look_at import batches


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


def with_own_labels(model):
    """Images and what the network itself takes them for, so that its error is zero and any change of it shows."""
    return [(images, model.predict(images, verbose=0).argmax(axis=1), weights) for images, _, weights in batches(40)]


def test_units_that_add_nothing_may_go_and_change_places_as_they_like(seeded):
    model = seeded(keras_resnet.CifarResNet(20, order="full_preactivation"))
    for layer in model.layers:
        if layer.name.endswith("_conv2"):
            layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])
    found = lesions(model, with_own_labels(model), draws=2)
    assert len(found["deleted"]) == 7
    assert {found["error"], *found["deleted"].values()} == {0}
    assert {row["error"] for row in (*found["several"], *found["swapped"])} == {0}


def test_a_plain_network_is_lost_without_any_layer_and_the_more_so_the_more_are_gone(seeded):
    """Veit et al. 2016, section 4.1; and the order after one swap is as Kendall's tau has it.

    Of nine units' 36 pairs, two that change places at a distance of d turn round 2 d - 1; the longest stage to move in
    has three units.
    """
    model = seeded(keras_resnet.CifarResNet(20, shortcut=None))
    found = lesions(model, with_own_labels(model), draws=2)
    assert found["error"] == 0
    assert min(found["deleted"].values()) > 0
    assert found["several"][-1]["error"] > 50
    assert found["swapped"][0]["error"] > 0
    next_door, one_between = 1 - 2 * 1 / 36, 1 - 2 * 3 / 36
    expected = [next_door, (next_door + one_between) / 2, one_between]  # of two draws
    assert min(abs(found["swapped"][0]["correlation"] - value) for value in expected) < 1e-4


def test_what_cannot_be_looked_at_is_refused():
    with pytest.raises(ValueError, match="is no network of keras_resnet"):
        lesions(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]), batches(40, 16))
    with pytest.raises(ValueError, match="no images"):
        lesions(keras_resnet.CifarResNet(8), [])
