"""Networks with units left out or swapped: their errors, which units are movable, cached maps, and the results."""

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
def test_the_unchanged_network_has_its_own_error(seeded, choices):
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
def test_a_network_without_a_unit_equals_one_built_without_it(seeded, choices):
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
    swapped_error = network.error(order)
    other = keras_resnet.CifarResNet(14)
    for layer in other.layers:
        name = layer.name
        name = name.replace("unit1", "X").replace("unit2", "unit1").replace("X", "unit2") if "stage1" in name else name
        layer.set_weights(model.get_layer(name).get_weights())
    assert 0 < swapped_error == pytest.approx(error(other, images, labels), abs=1e-3)


def test_maps_that_do_not_fit_the_cache_are_recomputed(seeded, monkeypatch):
    model = seeded(keras_resnet.CifarResNet(20))
    all_cached = Lesions(model, batches(40, 16))
    monkeypatch.setattr(module, "CACHED_BYTES", 3 * 40 * 16 * 32 * 32 * 4)  # three maps of the first stage
    some_cached = Lesions(model, batches(40, 16))
    assert 1 < len(some_cached._cached) < len(all_cached._cached) == 10
    for without in some_cached.names[1:3], some_cached.names[-1:], []:
        order = [name for name in some_cached.names if name not in without]
        assert some_cached.error(order) == all_cached.error(order)


def test_a_unit_that_halves_the_map_is_not_movable_in_a_network_for_any_size(seeded):
    """In keras.applications' V2, the last unit of a stage halves the map without widening it."""
    choices = {"stem": "cifar", "downsample": "last_unit", "order": "full_preactivation", "shortcut": "B"}
    model = seeded(keras_resnet.ResNet((2, 1), (16, 16), input_shape=(None, None, 3), classes=10, **choices))
    assert Lesions(model, batches(40, 16)).movable == ["stage1_unit1", "stage2_unit1"]


def test_units_that_halve_the_map_are_not_movable():
    network = Lesions(keras_resnet.CifarResNet(20), batches(40, 16))
    assert [name for name in network.names if name not in network.movable] == ["stage2_unit1", "stage3_unit1"]


def test_the_result_has_every_unit_and_up_to_eight_counts():
    """In a plain network, units that change the shape cannot be left out."""
    result = lesions(keras_resnet.CifarResNet(20), batches(40, 16), draws=2)
    names = [f"stage{s}_unit{u}" for s in (1, 2, 3) for u in (1, 2, 3)]
    assert list(result["deleted"]) == names
    assert None not in result["deleted"].values()
    plain = lesions(keras_resnet.CifarResNet(20, shortcut=None), batches(40, 16), draws=1)["deleted"]
    assert list(plain) == names
    assert [name for name, error in plain.items() if error is None] == ["stage2_unit1", "stage3_unit1"]
    assert [row["units"] for row in result["several"]] == [row["swaps"] for row in result["swapped"]]
    assert [row["units"] for row in result["several"]] == [1, 2, 3, 4, 5, 6]
    assert [row["units"] for row in lesions(keras_resnet.CifarResNet(8), batches(40, 16), draws=1)["several"]] == [1]


@pytest.mark.parametrize(
    ("choices", "last", "seed"),  # with these seeds, each unit matters
    [({}, "bn2", 0), ({"shortcut": "B"}, "bn2", 0), ({"shortcut": "B", "order": "full_preactivation"}, "conv2", 9)],
)
def test_a_unit_that_changes_the_shape_loses_its_residual_only(seeded, choices, last, seed):
    """Its shortcut stays (Veit et al. 2016, section 4.1): the error is that of a network whose residual there is 0."""
    model = seeded(keras_resnet.CifarResNet(14, **choices), seed)
    images, _, _ = dark()
    labels = labelled(model, images)
    deleted = lesions(model, [(images, labels, np.ones(len(images)))], draws=1)["deleted"]
    for unit in ("stage2_unit1", "stage3_unit1"):
        layer = model.get_layer(f"{unit}_{last}")
        before = layer.get_weights()
        layer.set_weights([0 * value for value in before[:2]] + before[2:])  # of batch norm: scale and offset
        assert 0 < deleted[unit] == pytest.approx(error(model, images, labels), abs=1e-3)
        layer.set_weights(before)


def test_units_with_zero_residuals_can_be_left_out_and_swapped_without_error(seeded):
    model = seeded(keras_resnet.CifarResNet(20, order="full_preactivation"))
    for layer in model.layers:
        if layer.name.endswith("_conv2"):
            layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])
    images, _, _ = dark()
    result = lesions(model, [(images, labelled(model, images), np.ones(len(images)))], draws=2)
    assert len(result["deleted"]) == 9
    assert {result["error"], *result["deleted"].values()} == {0}
    assert {row["error"] for row in (*result["several"], *result["swapped"])} == {0}


def test_lesions_cause_errors_and_the_correlation_after_a_swap_is_kendalls_tau(seeded):
    """Of the 36 pairs of nine units, swapping two units at a distance of d reverses the order of 2 d - 1.

    No stage has more than three movable units.
    """
    model = seeded(keras_resnet.CifarResNet(20, shortcut="B"))
    images, _, _ = dark()
    result = lesions(model, [(images, labelled(model, images), np.ones(len(images)))], draws=2)
    assert result["error"] == 0
    assert max(result["deleted"].values()) > 0
    assert result["several"][-1]["error"] > 0
    adjacent, one_between = 1 - 2 * 1 / 36, 1 - 2 * 3 / 36
    expected = [adjacent, (adjacent + one_between) / 2, one_between]  # means of two draws
    assert min(abs(result["swapped"][0]["correlation"] - value) for value in expected) < 1e-4


def test_units_are_drawn_by_the_seed():
    model = keras_resnet.CifarResNet(20)
    first, again, other = (lesions(model, batches(2, 2), draws=1, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert [row["correlation"] for row in first["swapped"]] != [row["correlation"] for row in other["swapped"]]


def test_other_models_and_no_images_are_refused():
    with pytest.raises(ValueError, match="is not a network of keras_resnet"):
        lesions(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]), batches(40, 16))
    with pytest.raises(ValueError, match="no images"):
        lesions(keras_resnet.CifarResNet(8), [])
