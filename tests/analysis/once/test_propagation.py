"""What has no factor, and what cannot be looked at."""

from __future__ import annotations

import pytest

import keras_resnet
from keras_resnet.analysis.propagation import propagation
from to_look_at import batches, stranger


def units(model, **choices):
    return propagation(model, batches(4, **choices))["units"]


def test_a_unit_that_halves_the_map_has_no_factor_though_images_may_have_any_size(seeded):
    choices = {"stem": "cifar", "downsample": "last_unit", "order": "full_preactivation", "shortcut": "B"}
    model = seeded(keras_resnet.ResNet((2, 1), (16, 16), input_shape=(None, None, 3), classes=10, **choices))
    assert [unit["factor"] for unit in units(model)] == [None, 1, None, 1]


def test_what_cannot_be_looked_at_is_refused():
    with pytest.raises(ValueError, match="is no network of keras_resnet"):
        units(stranger())
    with pytest.raises(ValueError, match="no images"):
        propagation(keras_resnet.CifarResNet(8), [])
