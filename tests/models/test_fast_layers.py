"""The faster layers compute what Keras's do, in training and at inference, and are saved as Keras's."""

from __future__ import annotations

import copy
import itertools

import keras
import numpy as np
import pytest
from keras import layers

from comparing import alike, call, numpy
from keras_resnet import CifarResNet, ResNet20, load_model
from keras_resnet.models.fast_layers import FAST_LAYERS, BatchNormalization, Conv2D, use_fast_layers
from keras_resnet.saving import load
from twins import RNG, convolutions, trained_alike, twins

NORMS = [
    {},
    {"momentum": 0.9, "epsilon": 1e-5},
    {"scale": False},
    {"center": False},
    {"renorm": True},
    {"trainable": False},
]


@pytest.mark.parametrize("shape", [(6, 6, 5), (1, 1, 5), (None, None, 5), (7,)])
def test_batch_norm(shape):
    branches = {
        str(choices): lambda dtype, choices=choices: [layers.BatchNormalization(**choices)] for choices in NORMS
    }
    images = RNG.normal(3, 2, (4, *(size or 6 for size in shape))).astype("float32")
    trained_alike(twins(branches, shape), images)


def test_batch_norm_of_one_image_and_over_another_axis():
    trained_alike(twins(lambda dtype: [layers.BatchNormalization()], (3, 3, 2)), RNG.normal(size=(1, 3, 3, 2)))
    trained_alike(twins(lambda dtype: [layers.BatchNormalization(axis=1)], (3, 4, 2)), RNG.normal(size=(5, 3, 4, 2)))


def test_convolutions():
    """With 16 channels: with fewer, Keras's own may crash, see `test_narrow_projections_learn_as_they_should`."""
    chosen = itertools.product((1, 2, 3, (3, 1)), (1, 2, (1, 2)), ("same", "valid"))
    models = twins(convolutions(chosen, activation="relu"), (9, 8, 16))
    trained_alike(models, RNG.normal(size=(2, 9, 8, 16)).astype("float32"))


def test_convolutions_of_tiny_images():
    chosen = [(2, 1, "same"), (3, 1, "same"), ((3, 1), 1, "same"), (5, 1, "same")]
    chosen += [(3, 2, "valid"), ((2, 3), (1, 2), "valid")]
    trained_alike(twins(convolutions(chosen), (4, 3, 5)), RNG.normal(size=(2, 4, 3, 5)).astype("float32"))


def test_max_pooling_also_where_pixels_are_equal():
    """The gradient goes to one of the equal pixels, the same as in Keras, as the kernel before shows."""
    pools = [
        (size, strides, padding)
        for size, strides in [(3, 2), (2, 2), ((2, 3), (1, 2)), (3, 1)]
        for padding in ("valid", "same")
    ]
    branches = {
        str(pool): lambda dtype, pool=pool: [layers.Conv2D(4, 2, activation="relu"), layers.MaxPooling2D(*pool)]
        for pool in pools
    }
    trained_alike(twins(branches, (9, 8, 3)), RNG.integers(0, 2, (4, 9, 8, 3)).astype("float32"))


def test_max_pooling_of_nan():
    """In windows of 3x3; in windows of 2x2, XLA's own max-pooling loses it."""
    images = RNG.normal(size=(40, 9, 8, 3)).astype("float32")
    images[RNG.uniform(size=images.shape) < 0.05] = np.nan
    expected, found = (model(images) for model in twins(lambda dtype: [layers.MaxPooling2D(3, 2)], (9, 8, 3)))
    np.testing.assert_array_equal(numpy(found), numpy(expected))


@pytest.mark.parametrize("batch", [3, 29])
def test_narrow_projections_learn_as_they_should(batch):
    """With Keras's layers on TensorFlow and Torch, oneDNN writes out of bounds (uxlfoundation/oneDNN#6035)."""
    image = keras.Input((32, 32, 4))
    model = use_fast_layers(keras.Model(image, layers.Conv2D(8, 1, 2, padding="same", use_bias=False)(image)))
    images = RNG.normal(size=(batch, 32, 32, 4)).astype("float32")
    before = model.get_weights()[0]
    model.compile(keras.optimizers.SGD(0.1), "mse")
    for _ in range(3):
        model.set_weights([before])
        model.train_on_batch(images, np.zeros((batch, 16, 16, 8)))
        pixels = images[:, ::2, ::2].astype("float64")
        gradient = np.einsum("bhwi,bhwo->io", pixels, 2 * np.einsum("bhwi,io->bhwo", pixels, before[0, 0]))
        expected = before - 0.1 * gradient / (batch * 16 * 16 * 8)
        alike(model.weights[0], expected.astype("float32"), 1e-4)


def test_convolutions_of_other_kinds():
    kinds = [{"groups": 2}, {"dilation_rate": 2}, {"dilation_rate": (1, 3)}, {"use_bias": False}]
    branches = {
        str(choices): lambda dtype, choices=choices: [layers.Conv2D(6, 3, padding="same", **choices)]
        for choices in kinds
    }
    trained_alike(twins(branches, (9, 8, 4)), RNG.normal(size=(2, 9, 8, 4)).astype("float32"))


def test_a_bias_is_added_to_the_channels_also_of_an_image_with_as_many_columns():
    """With Keras's layer on TensorFlow, it is added to the columns."""
    image = keras.Input((3, 4, 5))
    model = keras.Model(image, layers.Conv2D(5, 1, activation="relu", data_format="channels_first")(image))
    kernel, bias = RNG.normal(size=(1, 1, 3, 5)).astype("float32"), np.arange(-2, 3, dtype="float32")
    model.set_weights([kernel, bias])
    images = RNG.normal(size=(2, 3, 4, 5)).astype("float32")
    expected = np.maximum(0, np.einsum("nchw,cf->nfhw", images, kernel[0, 0]) + bias[:, None, None])
    np.testing.assert_allclose(numpy(use_fast_layers(model)(images)), expected, atol=1e-5)


def test_relu():
    kinds = [{}, {"max_value": 0.7}, {"negative_slope": 0.2}, {"threshold": 0.3}]
    branches = {
        str(choices): lambda dtype, choices=choices: [layers.ReLU(**choices), layers.Dense(2)] for choices in kinds
    }
    trained_alike(twins(branches, (5, 4, 3)), RNG.normal(size=(2, 5, 4, 3)).astype("float32"))


def test_relu_at_zero_and_of_nan():
    images = np.array([[-1, 0, -0.0, 2, np.nan, np.inf, -np.inf]], "float32")
    expected, found = (model(images) for model in twins(lambda dtype: [layers.ReLU()], (7,)))
    np.testing.assert_array_equal(numpy(found), numpy(expected))
    models = twins(lambda dtype: [layers.Dense(3, use_bias=False), layers.ReLU()], (4,))
    trained_alike(models, np.zeros((2, 4), "float32"))


@pytest.mark.parametrize("others", [[(5, 4, 3)], [(1, 1, 3)], [(5, 4, 3), (5, 4, 3)], [(5, 1, 3), (1, 4, 1)]])
def test_sums(others):
    def make(dtype):
        scaled = [layers.Conv2D(3, 1, name=f"other{number}") for number, _ in enumerate(others)]

        def add(x):
            parts = [
                layer(x)[:, : shape[0], : shape[1], : shape[2]] for layer, shape in zip(scaled, others, strict=True)
            ]
            return layers.Add()([x, *parts])

        return [layers.Conv2D(3, 1), add, layers.Dense(2)]

    trained_alike(twins(make, (5, 4, 3)), RNG.normal(size=(2, 5, 4, 3)).astype("float32"))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_network_in_half_precision_computes_what_keras_does(dtype):
    """Its statistics are in half precision too, which the kernels do not support."""
    model = CifarResNet(8, dtype=dtype)
    plain = keras.models.clone_model(model)
    plain.set_weights(model.get_weights())
    images = RNG.normal(size=(2, 32, 32, 3)).astype("float32")
    alike(plain(images), model(images), 0.02)


def test_a_network_that_was_adapted_by_lora_opens(tmp_path):
    model = CifarResNet(8)
    model.get_layer("stage1_unit1_conv1").enable_lora(2)
    model.save(tmp_path / "model.keras")
    images = RNG.normal(size=(2, 32, 32, 3)).astype("float32")
    alike(load(tmp_path / "model.keras")[0](images), model(images), 1e-5)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16", "float64"])
def test_other_precisions(dtype):
    """Also for a tiny image, the centre of the others."""

    def branch(kernel, *before):
        return lambda dtype: [
            *(layer(dtype=dtype) for layer in before),
            layers.Conv2D(8, kernel, padding="same", dtype=dtype),
            layers.BatchNormalization(dtype=dtype),
        ]

    branches = {"3": branch(3), "1": branch(1), "3 tiny": branch(3, lambda dtype: layers.Cropping2D(2, dtype=dtype))}
    images = RNG.normal(size=(8, 8, 8, 4)).astype("float32")
    trained_alike(twins(branches, (8, 8, 4), dtype), images, 1e-4 if dtype == "float64" else 0.03)


def test_networks_are_built_of_fast_layers_that_are_keras_own_to_other_code(tmp_path):
    model = ResNet20()
    assert {type(layer) for layer in model.layers} >= {BatchNormalization, Conv2D}
    assert {layer.__class__ for layer in model.layers} >= {layers.BatchNormalization, layers.Conv2D}
    model.save(tmp_path / "model.keras")
    for plain in (keras.saving.load_model(tmp_path / "model.keras"), keras.models.clone_model(model)):
        assert not {type(layer) for layer in plain.layers} & {BatchNormalization, Conv2D}
    images = RNG.normal(size=(2, 32, 32, 3)).astype("float32")
    plain = keras.saving.load_model(tmp_path / "model.keras")
    alike(plain(images), model(images), 1e-5)


def test_a_network_has_fast_layers_again_after_it_was_loaded_or_copied_alone_or_in_another_model(tmp_path):
    network = CifarResNet(8)
    kinds = [type(layer) for layer in network.layers]
    network.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    copied = use_fast_layers(copy.deepcopy(network))
    nested = keras.Sequential([keras.Input((32, 32, 3)), keras.models.clone_model(network), layers.Dense(2)])
    images = RNG.normal(size=(2, 32, 32, 3)).astype("float32")
    before = call(nested, images)
    within = use_fast_layers(nested).layers[0]
    assert type(within) is type(loaded) is type(copied) is type(network)
    for each in (loaded, copied, within):
        assert [type(layer) for layer in each.layers] == kinds
    alike(nested(images), before, 1e-5)
    alike(loaded(images), network(images), 1e-5)


def test_fast_layers_have_the_memory_layout_of_those_that_they_replace():
    """Else a layer cannot change its class where that layout is unusual, as with KERAS_NNX_ENABLED=true on JAX."""
    assert [fast.__base__ for fast in FAST_LAYERS.values()] == list(FAST_LAYERS)


def test_a_layer_that_is_not_built_yet_stays_as_it_is():
    model = use_fast_layers(keras.Sequential([layers.Conv2D(3, 3), layers.ReLU()]))
    assert type(model.layers[0]) is layers.Conv2D
    assert model(np.zeros((1, 5, 4, 2), "float32")).shape == (1, 3, 2, 3)


def test_a_network_learns_the_same():
    """With softplus for ReLU, whose gradient changes if rounding changes the sign of its input."""
    keras.utils.set_random_seed(2)
    plain, fast = (
        keras.models.clone_model(CifarResNet(8, order="full_preactivation", shortcut="B"), clone_function=with_softplus)
        for _ in range(2)
    )
    fast.set_weights(plain.get_weights())
    images = np.random.default_rng(2).normal(size=(8, 32, 32, 3)).astype("float32")
    trained_alike([plain, use_fast_layers(fast)], images, 1e-3)


def with_softplus(layer):
    if isinstance(layer, layers.ReLU):
        return layers.Activation("softplus", name=layer.name)
    return layer.__class__.from_config(layer.get_config())
