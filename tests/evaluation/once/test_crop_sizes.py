"""The sizes of the crops of a test."""

from __future__ import annotations

import keras
import pytest

from keras_resnet.evaluation.evaluate import crop_sizes
from keras_resnet.evaluation.views import Views

TRAINED = {"size": 32, "resize": 36}


@pytest.mark.parametrize(
    ("side", "trained", "views", "expected"),
    [
        (None, {}, Views(), (224, 256)),
        (64, {}, Views(), (64, 73)),
        (32, TRAINED, Views(), (32, 36)),
        (32, TRAINED, Views(resize=48), (32, 48)),
        (32, TRAINED, Views(size=32), (32, 36)),
        (32, TRAINED, Views(size=64), (64, 73)),
    ],
)
def test_the_sizes_are_those_of_the_training_and_at_another_size_in_the_papers_proportion(
    side, trained, views, expected
):
    image = keras.Input((side, side, 3))
    model = keras.Model(image, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(image)))
    assert crop_sizes(model, trained, views) == expected
