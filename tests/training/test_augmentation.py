"""Augmentation of images and labels in a run. That it resumes with the same random state is tested in `test_resume`."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

import small_runs
from keras_resnet.training.augmentation import (
    Brightness,
    CutMix,
    Equalize,
    RandAugment,
    RandomErasing,
    Solarize,
    augmented,
)
from keras_resnet.training.feed import image_sizes
from keras_resnet.training.metrics import Accuracy
from keras_resnet.training.networks import compile_for
from keras_resnet.training.recipe import GROWTH
from keras_resnet.training.run import train

SIDE, COLORS = 16, np.eye(3) * 255  # a colour for each class
SHAPE = (64, 32, 32, 3)  # the only one for RandAugment, since JAX compiles each operation for each shape


def colored(count):
    """Returns images filled with the colour of their class, and their labels."""
    labels = np.arange(count) % 3
    images = np.broadcast_to(COLORS[labels][:, None, None], (count, SIDE, SIDE, 3))
    return images.astype("float32"), np.eye(3, dtype="float32")[labels]


class RecordingLoss(keras.losses.Loss):
    """Records the labels and the outputs of the network."""

    def call(self, y_true, y_pred):
        self.labels, self.colors = (np.array(keras.ops.convert_to_numpy(value)) for value in (y_true, y_pred))
        return keras.ops.mean(y_pred)


def with_augmentation(recipe):
    """Returns a "network" whose outputs are the mean colours, the model with a recipe's augmentation, and its loss."""
    image = keras.Input((SIDE, SIDE, 3))
    colors = keras.layers.Rescaling(1 / 255)(keras.layers.GlobalAveragePooling2D()(image))
    network = keras.Model(image, colors)
    model, loss = augmented(network, recipe, np.full(3, 127.0)), RecordingLoss()
    model.compile(keras.optimizers.SGD(0.0), loss)
    return network, model, loss


def in_training(model, loss, images, labels):
    """Returns the labels and colours of a batch after augmentation."""
    model.compute_loss(images, keras.ops.convert_to_tensor(labels), model(images, training=True))
    return loss.labels, loss.colors


@pytest.mark.parametrize("choices", [{"mixup": 0.5}, {"cutmix": 1.0}, {"mixup": 1.0, "cutmix": 1.0}], ids=str)
def test_a_label_is_mixed_of_classes_as_its_image_is_of_colours(choices):
    keras.utils.set_random_seed(0)
    _, model, loss = with_augmentation(small_runs.small_recipe(**choices))
    images, labels = colored(30)
    mixed = []
    for _ in range(6):
        mixed_labels, colors = in_training(model, loss, images, labels)
        np.testing.assert_allclose(mixed_labels.sum(axis=1), 1, rtol=1e-5)
        np.testing.assert_allclose(mixed_labels, colors, atol=1e-5)
        mixed.append((mixed_labels.max(axis=1) < 0.99).mean())
    assert 0.1 < np.mean(mixed) < 0.8  # a third is mixed with its own class


def test_the_training_error_counts_a_mixed_image_as_its_larger_part():
    """The "network" returns the colours, so it is always right about mixed labels, but not about the original ones."""
    keras.utils.set_random_seed(0)
    _, model, _ = with_augmentation(small_runs.small_recipe(mixup=1.0))
    model.compile(keras.optimizers.SGD(0.0), "mse", weighted_metrics=[Accuracy(name="accuracy")])
    images, labels = colored(30)
    for _ in range(6):
        logs = model.train_on_batch(images, labels, sample_weight=np.ones(30), return_dict=True)
    assert logs["accuracy"] > 0.99


if keras.backend.backend() == "jax":

    @pytest.mark.parametrize("choices", [{"randaugment": 9.0}, {"mixup": 0.5}, {"cutmix": 0.5}], ids=str)
    def test_the_entire_step_is_compiled(choices):
        """If a single layer does not support compilation, as some of Keras's for TensorFlow, Keras compiles nothing."""
        recipe = small_runs.small_recipe(**choices)
        _, model, _ = with_augmentation(recipe)
        compile_for(model, keras.optimizers.SGD(0.0), recipe, 3)
        assert model.jit_compile is True


def test_erasing_takes_a_rectangle_of_the_given_share_of_images_and_leaves_the_labels():
    keras.utils.set_random_seed(0)
    _, model, loss = with_augmentation(small_runs.small_recipe(erasing=0.5))
    images, labels = colored(300)
    labels_in_training, colors = in_training(model, loss, images, labels)
    np.testing.assert_array_equal(labels_in_training, labels)
    erased = colors[labels == 1] < 0.999
    assert 0.4 < erased.mean() < 0.6
    others = colors[labels == 0]
    np.testing.assert_allclose(others.max() / 0.33, 0.5, atol=0.1)  # at most a third, in middle grey


def test_rectangles_reach_each_edge_equally_often():
    """Keras's own never contain the first row or column."""
    keras.utils.set_random_seed(0)
    images = np.ones((2000, 4, 4, 1), "float32")
    images[1000:] = 2  # half of the pasted parts differ from the image
    for layer in (RandomErasing((1.0, 1.0), fill_value=0.0, data_format="channels_last"), CutMix((1.0, 1.0))):
        changed = keras.ops.convert_to_numpy(layer(images, training=True)) != images
        for edges in (changed.mean(axis=(0, 2, 3)), changed.mean(axis=(0, 1, 3))):
            assert edges[0] == pytest.approx(edges[-1], abs=0.03) and edges[0] > 0.05


def test_tests_see_the_images_as_they_are():
    everything = {"randaugment": 9.0, "erasing": 1.0, "mixup": 1.0, "cutmix": 1.0}
    network, model, _ = with_augmentation(small_runs.small_recipe(**everything))
    images, labels = colored(6)
    np.testing.assert_array_equal(model.predict(images, verbose=0), network.predict(images, verbose=0))
    model.compile(loss="mse", metrics=["categorical_accuracy"])
    assert model.evaluate(images, labels, verbose=0, return_dict=True) == {"categorical_accuracy": 1, "loss": 0}
    network, model, _ = with_augmentation(small_runs.small_recipe())
    assert model is network  # no augmentation, no layers


def test_randaugment_draws_for_each_image_and_more_with_its_magnitude():
    keras.utils.set_random_seed(0)
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).repeat(4, axis=0).repeat(4, axis=1)
    images = np.broadcast_to(image.astype("float32"), SHAPE)
    changes = []
    for magnitude in (3, 30):
        changed = keras.ops.convert_to_numpy(RandAugment(magnitude)(images))
        assert changed.shape == images.shape
        assert changed.min() >= -1e-3 and changed.max() <= 255.001
        change = np.abs(changed - images).mean(axis=(1, 2, 3))
        assert len(np.unique(change.round(2))) > 20  # of 64 equal images
        changes.append(np.median(change))
    assert changes[0] < changes[1]


def operation(magnitude, kind, number=0):
    """Returns the operation of RandAugment that is the given one of its class."""
    return [each for each in RandAugment(magnitude).operations if isinstance(each, kind)][number]


def test_no_operation_modifies_its_input():
    """All operations get the same images, since the layer selects among their results."""
    values = np.random.default_rng(0).integers(0, 256, SHAPE).astype("float32")
    for operation in RandAugment(30).operations:
        images = keras.ops.convert_to_tensor(values.copy())
        operation(images, training=True)
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(images), values, err_msg=type(operation).__name__)


def test_brightness_multiplies_so_that_black_stays_black():
    """The factor is 0.1 to 1.9 at the highest magnitude."""
    keras.utils.set_random_seed(0)
    images = np.broadcast_to(np.array([0, 50, 200], "float32"), (1000, 2, 2, 3))
    values = keras.ops.convert_to_numpy(operation(30, Brightness)(images, training=True))[:, 0, 0]
    assert (values[:, 0] == 0).all()
    factor = values[:, 1] / 50
    assert factor.min() >= 0.1 and factor.max() <= 1.9 and np.ptp(factor) > 1.7
    np.testing.assert_allclose(values[:, 2], np.minimum(200 * factor, 255), rtol=1e-5)


def test_solarisation_has_a_higher_threshold_at_lower_magnitudes():
    """At magnitude 6 of 30, the threshold is at least four fifths of 255; at 30 it covers the full range."""
    keras.utils.set_random_seed(0)
    for value, magnitude, expected in ((128, 6, 0), (203, 6, 0), (229.5, 6, 0.5), (128, 30, 0.5), (64, 30, 0.25)):
        images = np.full((1000, 2, 2, 3), value, "float32")
        solarized = keras.ops.convert_to_numpy(operation(magnitude, Solarize)(images, training=True))
        inverted = solarized[:, 0, 0, 0] != value
        assert inverted.mean() == pytest.approx(expected, abs=0.05 if expected else 0)
        np.testing.assert_array_equal(solarized, np.where(inverted[:, None, None, None], 255 - value, images))


MOVES = [(keras.layers.RandomRotation, 0), *((keras.layers.RandomShear, n) for n in (0, 1))]
MOVES += [(keras.layers.RandomTranslation, n) for n in (0, 1)]


@pytest.mark.parametrize("kind, number", MOVES, ids=lambda value: getattr(value, "__name__", value))
def test_areas_without_image_content_are_black(kind, number):
    keras.utils.set_random_seed(0)
    images = np.full(SHAPE, 200.0, "float32")
    moved = keras.ops.convert_to_numpy(operation(30, kind, number)(images, training=True))
    assert (moved == 0).any() and moved.max() == pytest.approx(200)


# The axis along which each operation moves the content: rows or columns.
AXES = [(keras.layers.RandomShear, 0, 2), (keras.layers.RandomShear, 1, 1)]
AXES += [(keras.layers.RandomTranslation, 0, 2), (keras.layers.RandomTranslation, 1, 1)]


@pytest.mark.parametrize(("kind", "number", "axis"), AXES, ids=lambda value: getattr(value, "__name__", value))
def test_images_are_moved_along_one_axis(kind, number, axis):
    keras.utils.set_random_seed(0)
    unchanged = {}
    for varying in (1, 2):
        ramp = np.linspace(50, 200, 32, dtype="float32").reshape((1, 32, 1, 1) if varying == 1 else (1, 1, 32, 1))
        images = np.broadcast_to(ramp, SHAPE)
        moved = keras.ops.convert_to_numpy(operation(30, kind, number)(images, training=True))
        unchanged[varying] = np.isclose(moved, images, atol=0.1).mean()
    assert unchanged[axis] < 0.4 and unchanged[3 - axis] > 0.6, unchanged


def test_posterisation_keeps_four_bits_at_the_highest_magnitude():
    images = np.broadcast_to(np.tile(np.arange(256, dtype="float32"), 4).reshape(1, 32, 32, 1), SHAPE)
    for magnitude, levels in ((3, 256), (15, 64), (30, 16)):
        values = operation(magnitude, keras.layers.RandomPosterization)(images, training=True)
        assert len(np.unique(keras.ops.convert_to_numpy(values))) == levels


def test_sharpness_is_between_a_tenth_and_1_9_times_that_of_the_image_at_the_highest_magnitude():
    """Twice the factor that Keras draws, on the line from Pillow's smoothed image through the original."""
    keras.utils.set_random_seed(0)
    image = np.full((32, 32, 3), 50, np.uint8)
    image[16, 16] = 100
    smooth = np.asarray(Image.fromarray(image).filter(ImageFilter.SMOOTH), float)
    images = np.broadcast_to(image.astype("float32"), SHAPE)
    values = keras.ops.convert_to_numpy(operation(30, keras.layers.RandomSharpness)(images, training=True))
    sharpness = (values - smooth)[:, 16, 16, 0] / (image - smooth)[16, 16, 0]
    assert 0 < sharpness.min() < 0.3 and 1.7 < sharpness.max() < 2


def test_one_of_the_choices_of_randaugment_is_no_operation(monkeypatch):
    """Cubuk et al. 2019, figure 2."""
    images = np.random.default_rng(0).integers(0, 256, SHAPE).astype("float32")
    layer, counts = RandAugment(30), []

    def last(shape, low, high, **_):
        counts.append(high - low)
        return keras.ops.full(shape, high - 1, dtype="int32")

    monkeypatch.setattr(keras.random, "randint", last)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer(images, training=True)), images)
    assert counts == 2 * [1 + len(layer.operations)]


def test_each_image_is_equalised_as_by_pillow_whatever_the_others_in_its_batch():
    rng = np.random.default_rng(0)
    shape = (32, 30, 3)  # pixels for several per level
    dark, bright, flat = rng.integers(0, 90, shape), rng.integers(200, 256, shape), np.full(shape, 77)
    few = np.where(rng.random(shape) < 0.5, dark, 90)  # half of the pixels have one value, which is the brightest
    images = np.stack([dark, bright, flat, few]).astype("uint8")
    expected = [np.array(ImageOps.equalize(Image.fromarray(image))) for image in images]
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(Equalize()(images.astype("float32"))), expected)
    small = images[:, :10, :10]  # too few pixels for one per level
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(Equalize()(small.astype("float32"))), small)
    equalized = operation(9, Equalize)(images.astype("float32"), training=True)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(equalized), expected)


def test_grey_images_have_no_colours_to_augment(tmp_path):
    with pytest.raises(ValueError, match=r"`randaugment` needs images of 3 channels\. Received: 1, in digits"):
        train(small_runs.small_recipe(randaugment=5.0), tmp_path, say=lambda line: None)


@pytest.mark.parametrize("name", ["randaugment", "erasing", "mixup", "cutmix"])
def test_a_strength_out_of_its_range_is_refused(name):
    with pytest.raises(ValueError, match=rf"`{name}` must be from 0 to \d+. Received: -1"):
        small_runs.small_recipe(**{name: -1.0})


def test_photographs_grow_by_equal_steps_at_equal_intervals():
    recipe = small_runs.small_recipe(epochs=9, size=96, first_size=96 - 2 * GROWTH)
    assert image_sizes(recipe, 9) == 3 * [32] + 3 * [64] + 3 * [96]
    recipe = small_runs.small_recipe(epochs=2, size=100, first_size=50)  # 50, 82, 100 in two epochs
    assert image_sizes(recipe, 2) == [82, 100]
    with pytest.raises(ValueError, match=r"`first_size` must be at most `size`, 64. Received: 96"):
        small_runs.small_recipe(size=64, first_size=96)
