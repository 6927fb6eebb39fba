"""Re-estimated statistics equal those that NumPy computes over all images."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_resnet.training.batch_norm import reestimate


@pytest.fixture
def model():
    """Two batch norm layers, the second of whose inputs are normalised by each batch's own statistics."""
    layers = keras.layers
    first, second = layers.BatchNormalization(epsilon=1e-5), layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
    model = keras.Sequential([keras.Input((3,)), first, layers.Dense(4), second])
    model.layers[1].set_weights([np.random.default_rng(1).standard_normal((3, 4)), np.ones(4)])
    return model


def test_the_statistics_are_those_of_all_images(model):
    images = np.random.default_rng(0).standard_normal((7, 20, 3)) * [1, 2, 3] + [0, 5, 9]
    before = [keras.ops.convert_to_numpy(variable) for variable in model.trainable_variables]
    reestimate(model, ((batch, np.zeros(20)) for batch in images.astype("float32")), steps=7)

    first, dense, second = model.layers
    np.testing.assert_allclose(first.moving_mean, images.mean(axis=(0, 1)), rtol=1e-5)
    np.testing.assert_allclose(first.moving_variance, images.var(axis=(0, 1)), rtol=1e-4)
    normalised = (images - images.mean(axis=1, keepdims=True)) / np.sqrt(images.var(axis=1, keepdims=True) + 1e-5)
    kernel, bias = (keras.ops.convert_to_numpy(variable) for variable in (dense.kernel, dense.bias))
    inputs = normalised @ kernel + bias
    np.testing.assert_allclose(second.moving_mean, inputs.mean(axis=(0, 1)), rtol=1e-4)
    np.testing.assert_allclose(second.moving_variance, inputs.var(axis=(0, 1)), rtol=1e-4)

    after = [keras.ops.convert_to_numpy(variable) for variable in model.trainable_variables]
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))
    assert (first.momentum, second.momentum) == (0.99, 0.9)


def test_no_images_are_refused_and_the_statistics_stay(model):
    with pytest.raises(ValueError, match="`steps` must be at least 1"):
        reestimate(model, iter(()), steps=0)
    np.testing.assert_array_equal(model.layers[0].moving_variance, np.ones(3))
    assert model.layers[0].momentum == 0.99
