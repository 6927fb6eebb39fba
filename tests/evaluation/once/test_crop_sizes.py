"""The sizes of the crops of a test."""

from __future__ import annotations

import keras
import pytest

from keras_resnet.evaluation.evaluate import crop_sizes
from keras_resnet.evaluation.view import View

TRAINED = {"size": 32, "resize": 36}


@pytest.mark.parametrize(
    ("side", "trained", "view", "expected"),
    [
        (None, {}, View(), (224, 256)),
        (64, {}, View(), (64, 73)),
        (32, TRAINED, View(), (32, 36)),
        (32, TRAINED, View(resize=48), (32, 48)),
        (32, TRAINED, View(size=32), (32, 36)),
        (32, TRAINED, View(size=64), (64, 73)),
    ],
)
def test_the_sizes_are_those_of_the_training_and_at_another_size_in_the_papers_proportion(
    side, trained, view, expected
):
    image = keras.Input((side, side, 3))
    model = keras.Model(image, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(image)))
    assert crop_sizes(model, trained, view) == expected
