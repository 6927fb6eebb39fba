"""Testing counts every image once, and counts it as wrong unless its class stands alone at the top."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_resnet.data import ArrayTestBatches
from keras_resnet.evaluation import single_view

CLASSES = 12  # of a 2x2 image in colour


def evaluate(model, images, labels, batch_size=500):
    return single_view.evaluate(model, ArrayTestBatches(images=images, labels=labels, batch_size=batch_size))


def by_hand(images, labels):
    """Top-1 and top-5 errors, an image at a time."""
    wrong, wrong5 = 0, 0
    for image, label in zip(images.reshape(len(images), -1), labels, strict=True):
        at_least_as_good = sum(score >= image[label] for score in image) - 1
        wrong += at_least_as_good >= 1
        wrong5 += at_least_as_good >= 5
    return wrong, 100 * wrong / len(images), 100 * wrong5 / len(images)


@pytest.mark.parametrize("count", [1, 2, 53, 101])
@pytest.mark.parametrize("batch_size", [1, 7, 53, 500])
def test_every_image_counts_once_whatever_the_batch_size(pixels, count, batch_size):
    rng = np.random.default_rng(count)
    images, labels = rng.integers(0, 256, (count, 2, 2, 3), dtype=np.uint8), rng.integers(0, CLASSES, count)
    result = evaluate(pixels(), images, labels, batch_size=batch_size)
    wrong, error, error5 = by_hand(images.astype(int), labels)
    assert (result["images"], result["wrong"]) == (count, wrong)
    assert (result["error"], result["top5_error"]) == pytest.approx((error, error5), abs=1e-3)


def test_a_wrong_image_is_noticed_at_every_place(pixels):
    """13 right images, one of them made wrong: also the first, and the last in a smaller batch."""
    right = np.zeros((13, 2, 2, 3), np.uint8)
    right.reshape(13, -1)[:, 0] = 1
    labels = np.zeros(13, int)
    assert evaluate(pixels(), right, labels, batch_size=5)["wrong"] == 0
    for place in range(13):
        images = right.copy()
        images[place].flat[3] = 2
        assert evaluate(pixels(), images, labels, batch_size=5)["wrong"] == 1


def test_a_tie_is_no_hit(pixels):
    """A network that gives every class the same score knows nothing, wherever the right class stands."""
    result = evaluate(pixels(), np.full((5, 2, 2, 3), 9, np.uint8), np.arange(5))
    assert (result["error"], result["top5_error"]) == (100, 100)


def test_nan_is_no_hit(pixels):
    result = evaluate(pixels(), np.full((3, 2, 2, 3), np.nan, np.float32), np.arange(3))
    assert (result["error"], result["top5_error"]) == (100, 100)


def test_with_fewer_than_six_classes_the_top_five_are_all(pixels):
    images = np.random.default_rng(0).permutation(100)[:40].reshape(10, 2, 2, 1).astype("uint8")
    assert evaluate(pixels((2, 2, 1)), images, np.zeros(10, int))["top5_error"] == 0


@pytest.mark.parametrize(
    ("shape", "label", "words"),
    [((3, 2, 3), 0, ("(2, 2, 3)", "(3, 2, 3)")), ((2, 2, 1), 0, ("(2, 2, 1)",)), ((2, 2, 3), 12, ("12 classes", "12"))],
)
def test_data_of_another_size_or_more_classes_are_refused(pixels, shape, label, words):
    with pytest.raises(ValueError) as caught:
        evaluate(pixels(), np.zeros((4, *shape), np.uint8), np.array([0, 0, label, 0]))
    assert all(word in str(caught.value) for word in words)


def test_a_model_of_other_things_than_images_is_refused():
    a, b = keras.Input((8, 8, 1)), keras.Input((8, 8, 1))
    for model in (
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]),
        keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(3, 3)]),
        keras.Model([a, b], keras.layers.Flatten()(a + b)),
    ):
        with pytest.raises(ValueError, match="must take images") as caught:
            evaluate(model, np.zeros((1, 8, 8, 1)), np.zeros(1, int))
        assert "\n" not in str(caught.value)
