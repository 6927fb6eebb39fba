"""The mean is subtracted inside the model, which therefore takes raw images wherever it is loaded."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_resnet.preprocessing import normalize

SHAPE = (5, 4, 3)


def normalising(mean):
    image = keras.Input(SHAPE)
    return keras.Model(image, normalize(image, mean))


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (7, *SHAPE), dtype=np.uint8)


def test_every_pixel_has_its_own_mean(images):
    mean = images.mean(axis=0)
    out = np.asarray(normalising(mean).predict(images, verbose=0))
    np.testing.assert_allclose(out, images - mean, atol=1e-4)
    np.testing.assert_allclose(out.mean(axis=0), 0, atol=1e-4)


def test_a_mean_per_channel_works_for_any_size_and_is_saved_with_the_model(images, tmp_path):
    mean = images.mean(axis=(0, 1, 2))
    image = keras.Input((None, None, 3))
    keras.Model(image, normalize(image, mean)).save(tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras")
    for size in (slice(None), slice(1, 3)):
        out = np.asarray(model.predict(images[:, size], verbose=0))
        np.testing.assert_allclose(out, images[:, size] - mean, atol=1e-4)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_mean_per_pixel_can_be_combined_with_a_deviation_per_channel(images, data_format):
    deviation = np.array([10.0, 20.0, 40.0])
    expected = (images - images.mean(axis=0)) / deviation
    if data_format == "channels_first":
        images, expected = images.transpose(0, 3, 1, 2), expected.transpose(0, 3, 1, 2)
    image = keras.Input(images.shape[1:])
    model = keras.Model(image, normalize(image, images.mean(axis=0), deviation, data_format))
    np.testing.assert_allclose(np.asarray(model.predict(images, verbose=0)), expected, atol=1e-4)


def test_the_mean_is_saved_with_the_model(images, tmp_path):
    mean = images.mean(axis=0)
    normalising(mean).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(np.asarray(loaded.predict(images, verbose=0)), images - mean, atol=1e-4)
    assert not loaded.trainable_variables


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_it_is_computed_in_float32_whatever_the_policy(images, policy):
    """Between 128 and 255, bfloat16 can represent integers only."""
    mean = images.mean(axis=0)
    before = keras.dtype_policies.get(None)
    keras.config.set_dtype_policy(policy)
    try:
        out = np.asarray(normalising(mean).predict(images, verbose=0))
    finally:
        keras.config.set_dtype_policy(before)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, images - mean, atol=1e-4)


@pytest.mark.parametrize("shape", [(4,), (1, 1, 3), (4, 5, 3), (1, *SHAPE)])
def test_a_mean_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError) as caught:
        normalising(np.zeros(shape))
    assert str(SHAPE) in str(caught.value) and str(shape) in str(caught.value)
