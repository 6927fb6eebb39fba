"""Initial weights: equal to Keras's for the same seed, and with the papers' variance."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest

import keras_resnet
from comparing import numpy
from keras_resnet.models.fast_layers import VarianceScaling

SHAPES = [(3, 3, 5, 7), (1, 1, 64, 256), (3, 3, 64, 64), (17, 3), (300, 201), (9,)]
MODES, DTYPES = ("fan_in", "fan_out", "fan_avg"), ("float32", "bfloat16", None)
# The settings with a faster implementation in every shape, and all settings in one shape.
DRAWN = dict.fromkeys(
    [*itertools.product(SHAPES, MODES[:2], DTYPES[:1]), *itertools.product(SHAPES[:1], MODES, DTYPES)]
)


@pytest.mark.parametrize(("shape", "mode", "dtype"), DRAWN)
def test_weights_are_drawn_as_keras_draws_them(shape, mode, dtype):
    """For the same seed and any shape, also for one that needs several draws, the last of them incomplete."""
    settings = {"scale": 2.0, "mode": mode, "distribution": "untruncated_normal", "seed": 7}
    expected = keras.initializers.VarianceScaling(**settings)(shape, dtype)
    drawn = VarianceScaling(**settings)(shape, dtype)
    assert keras.backend.standardize_dtype(drawn.dtype) == (dtype or "float32")
    np.testing.assert_allclose(numpy(drawn), numpy(expected), rtol=1e-6)


def test_weights_with_fans_on_other_axes_are_drawn_as_keras_draws_them():
    settings = {"scale": 2.0, "mode": "fan_in", "distribution": "untruncated_normal", "seed": 7}
    axes = {"input_axes": [0], "output_axes": [1, 2]}
    expected = keras.initializers.VarianceScaling(**settings, **axes)((5, 3, 4))
    np.testing.assert_allclose(numpy(VarianceScaling(**settings, **axes)((5, 3, 4))), numpy(expected), rtol=1e-6)


if keras.backend.backend() == "jax":
    import jax

    def test_weights_that_a_program_of_jax_draws_are_the_same():
        """As Keras has large kernels drawn if there are many devices, and users who build a network in a function."""
        initializer = VarianceScaling(2.0, "fan_out", "untruncated_normal", seed=7)
        drawn = jax.jit(lambda: initializer((3, 3, 5, 7)))()
        np.testing.assert_allclose(numpy(drawn), numpy(initializer((3, 3, 5, 7))), rtol=1e-6)


def test_an_initializer_is_serialised_as_keras_own():
    ours = VarianceScaling(2.0, "fan_out", "untruncated_normal", seed=3)
    theirs = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal", seed=3)
    assert keras.initializers.serialize(ours) == keras.initializers.serialize(theirs)
    assert type(ours.clone()) is keras.initializers.VarianceScaling


def test_kernels_start_as_untruncated_normals_of_hes_variance_and_differ():
    model = keras_resnet.ResNet20(width=4, classes=1000)
    kernels = [keras.ops.convert_to_numpy(model.get_layer(f"stage3_unit{n}_conv1").kernel) for n in (2, 3)]
    assert not np.array_equal(*kernels)
    for kernel in kernels:
        deviation = np.sqrt(2 / (3 * 3 * 256))  # of fan-out
        assert abs(kernel.std() / deviation - 1) < 0.01
        assert np.abs(kernel).max() > 4 * deviation  # a truncated normal ends at 2
    assert all(not layer.use_bias for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    dense, bias = model.get_layer("logits").get_weights()
    assert abs(dense.std() / np.sqrt(1 / 256) - 1) < 0.01  # of fan-in, since no ReLU follows
    assert not bias.any()


@pytest.mark.parametrize(
    ("order", "zeroed"),
    [
        ("original", "stage2_unit1_bn2"),
        ("relu_only_preactivation", "stage2_unit1_bn2"),
        ("bn_after_addition", "stage2_unit1_conv2"),
        ("full_preactivation", "stage2_unit1_conv2"),
    ],
)
def test_zero_init_residual_starts_every_residual_at_zero(order, zeroed):
    model = keras_resnet.CifarResNet(14, order=order, zero_init_residual=True)
    assert not np.any(keras.ops.convert_to_numpy(model.get_layer(zeroed).weights[0]))
    residual = keras.Model(model.input, model.get_layer(zeroed).output)
    images = np.random.default_rng(0).random((2, 32, 32, 3), "float32")
    assert not np.any(keras.ops.convert_to_numpy(residual(images)))
