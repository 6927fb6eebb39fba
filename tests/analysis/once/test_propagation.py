"""Factors follow He et al. 2016, equation 8; units without a factor, and wrong arguments."""

from __future__ import annotations

import numpy as np
import pytest

import keras_resnet
from keras_resnet.analysis.propagation import draw, propagation, summary_line
from to_look_at import batches, stranger

SAME = 4  # of the six units of a ResNet-14, those that keep the shape


def units(model, **choices):
    return propagation(model, batches(4, **choices))["units"]


def test_a_unit_that_halves_the_map_has_no_factor_in_a_network_for_any_size(seeded):
    choices = {"stem": "cifar", "downsample": "last_unit", "order": "full_preactivation", "shortcut": "B"}
    model = seeded(keras_resnet.ResNet((2, 1), (16, 16), input_shape=(None, None, 3), classes=10, **choices))
    assert [unit["factor"] for unit in units(model)] == [None, 1, None, 1]


def test_other_models_and_no_images_are_refused():
    with pytest.raises(ValueError, match="is not a network of keras_resnet"):
        units(stranger())
    with pytest.raises(ValueError, match="no images"):
        propagation(keras_resnet.CifarResNet(8), [])


@pytest.mark.parametrize(
    ("choices", "factor"),
    [
        ({}, 1.0),
        ({"order": "full_preactivation"}, 1.0),
        ({"shortcut": None}, 0.0),
        ({"skip": "constant_scaling", "shortcut_scale": 0.5}, 0.5),
        ({"skip": "constant_scaling", "shortcut_scale": 0.0, "residual_scale": 1.0}, 0.0),
        ({"skip": "dropout"}, 1.0),
    ],
)
def test_the_product_of_the_factors_is_that_of_equation_8(seeded, choices, factor):
    rows = units(seeded(keras_resnet.CifarResNet(14, **choices)))
    assert [unit["unit"] for unit in rows][:2] == ["stem", "stage1_unit1"]
    assert [unit["factor"] for unit in rows].count(None) == 3  # the stem, and where the shape changes
    assert all(unit["factor"] == pytest.approx(factor) for unit in rows if unit["factor"] is not None)
    assert rows[0]["product"] == pytest.approx(factor**SAME)
    assert rows[-1]["product"] == 1


def test_a_network_without_a_gradient_has_a_summary_all_the_same(seeded):
    model = seeded(keras_resnet.CifarResNet(8))
    dense = model.get_layer("logits")
    dense.set_weights([0 * value for value in dense.get_weights()])
    assert "gradient from 0 to 0 from there back to the stem" in summary_line(propagation(model, batches(4)))


def test_the_picture_says_where_it_leaves_out_zeros(monkeypatch, tmp_path):
    """In a plain network, the product of the factors of all units after it is 0 for every unit but the last ones."""
    figures = []
    monkeypatch.setattr("keras_resnet.analysis.propagation.save", lambda figure, *_: figures.append(figure))
    row = {"unit": "stem", "signal": 2.0, "gradient": 3.0, "factor": None, "product": 1.0}
    for product in (1.0, 0.0):
        draw({"a network": {"units": [{**row, "product": product}, row]}}, tmp_path / "a.png", "a title")
    titles = [[axes.get_title() for axes in figure.axes] for figure in figures]
    assert titles == [["", "", ""], ["", "", "without the zeros, which a logarithmic axis cannot show"]]


@pytest.mark.parametrize("skip", ["exclusive_gating", "shortcut_only_gating"])
def test_the_factor_of_a_gate_with_zero_weights_follows_from_its_bias(seeded, skip):
    model = seeded(keras_resnet.CifarResNet(14, skip=skip))
    for layer in model.layers:
        if layer.name.endswith("_gate"):
            layer.set_weights([0 * layer.get_weights()[0], np.full_like(layer.get_weights()[1], -2.0)])
    rows = units(model)
    assert rows[1]["factor"] == pytest.approx(1 - 1 / (1 + np.exp(2)), rel=1e-4)
