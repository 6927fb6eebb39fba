"""A folded network is the same function with fewer layers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import keras_resnet
from keras_resnet.exporting.folding import as_functional, fold, in_dtype
from keras_resnet.models.chain import chain
from keras_resnet.models.rows import ORDERS, SKIPS
from keras_resnet.models.taps import any_size
from keras_resnet.preprocessing import normalize

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(0, 255, (3, 32, 32, 3)).astype("float32")


def network(name="CifarResNet", **choices):
    """A network that takes raw images."""
    image = keras.Input((32, 32, 3))
    inside = normalize(image, [120.0, 110.0, 100.0], [60.0, 50.0, 40.0])
    if name == "CifarResNet":
        choices = {"depth": 8, "width": 0.5, "shortcut": "B", **choices}
    return getattr(keras_resnet, name)(input_tensor=inside, classes=10, classifier_activation=None, **choices)


@pytest.fixture
def filled(seeded):
    """Gives every weight and statistic a value other than its default, except for the normalisation of the images."""

    def fill(model):
        normalization, saved = model.get_layer("normalization"), {}
        normalization.save_own_variables(saved)
        saved = {name: keras.ops.convert_to_numpy(value) for name, value in saved.items()}
        seeded(model)
        normalization.load_own_variables(saved)

    return fill


def kinds(model, kind):
    return [layer.name for layer in model.layers if isinstance(layer, kind)]


def same(model, slim):
    """Checks that both models give the same logits, which must not be near zero."""
    expected, actual = (keras.ops.convert_to_numpy(one(IMAGES, training=False)) for one in (model, slim))
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("skip", SKIPS)
def test_every_skip(filled, skip):
    numbers = {"exclusive_gating": {"gate_bias": -1.0}, "shortcut_only_gating": {"gate_bias": -1.0}}
    model = network(skip=skip, **numbers.get(skip, {}))
    filled(model)
    slim = fold(model)
    assert not kinds(slim, layers.BatchNormalization) and not kinds(slim, layers.Dropout)
    same(model, slim)


@pytest.mark.parametrize(("order", "left"), dict(zip(ORDERS, (0, 3, 0, 0, 3), strict=True)).items())
def test_every_order_keeps_only_the_batch_norms_after_an_addition(filled, order, left):
    """2016, figure 4, with three units: (b) normalises after each addition; (e) before each unit but the first, whose
    batch norm is that of the stem, and at the end."""
    model = network(order=order)
    filled(model)
    slim = fold(model)
    assert len(kinds(slim, layers.BatchNormalization)) == left, kinds(slim, layers.BatchNormalization)
    same(model, slim)


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("CifarResNet", {"shortcut": "A", "width": 1}),
        ("CifarResNet", {"shortcut": "C", "depth": 11, "unit": "bottleneck"}),
        ("PlainNet18", {"width": 0.125}),
        ("ResNet18", {"width": 0.125, "shortcut": "B", "stochastic_depth": 0.2}),
        ("ResNet50V2", {"width": 0.125}),
    ],
)
def test_other_networks(filled, name, choices):
    model = network(name, **choices)
    filled(model)
    same(model, fold(model))


def test_layers_keep_their_names_and_the_model_is_not_modified(filled):
    model = network()
    filled(model)
    before = model.get_weights()
    slim = fold(model)
    gone = set(kinds(model, layers.BatchNormalization))
    assert [layer.name for layer in slim.layers][1:] == [
        layer.name for layer in model.layers[1:] if layer.name not in gone
    ]
    assert all(np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True))
    assert slim.name == model.name


def test_a_batch_norm_that_cannot_be_folded_remains():
    """After a convolution that has another consumer or an activation, and over another axis."""
    x = inputs = keras.Input((8, 8, 4))
    x = convolved = layers.Conv2D(4, 3, padding="same")(x)
    x = layers.BatchNormalization()(x)
    x = layers.Add()([x, convolved])
    x = layers.Conv2D(4, 3, activation="relu")(x)
    x = layers.BatchNormalization()(x)
    x = layers.Conv2D(4, 1)(x)
    x = layers.BatchNormalization(axis=1)(x)
    assert len(kinds(fold(keras.Model(inputs, x)), layers.BatchNormalization)) == 3
    image = keras.Input((4, 8, 8))
    convolved = layers.Conv2D(8, 1, data_format="channels_first")(image)
    for axis, left in ((1, 0), (3, 1)):
        model = keras.Model(image, layers.BatchNormalization(axis=axis)(convolved))
        assert len(kinds(fold(model), layers.BatchNormalization)) == left
    convolved = layers.Conv2D(4, 1)(inputs)
    model = keras.Model(inputs, [convolved, layers.BatchNormalization()(convolved)])  # also an output of the model
    assert len(kinds(fold(model), layers.BatchNormalization)) == 1


def test_a_bias_and_a_batch_norm_without_scale_or_center_fold_too():
    inputs = keras.Input((8, 8, 4))
    x = layers.Conv2D(5, 3, bias_initializer="normal")(inputs)
    x = layers.BatchNormalization(scale=False, moving_mean_initializer="normal")(x)
    x = layers.DepthwiseConv2D(3)(x)
    x = layers.Dense(3)(x)
    positive = keras.initializers.RandomUniform(0.5, 1.5)
    x = layers.BatchNormalization(center=False, gamma_initializer="normal", moving_variance_initializer=positive)(x)
    model = keras.Model(inputs, x)
    slim = fold(model)
    assert not kinds(slim, layers.BatchNormalization)
    images = RNG.normal(size=(2, 8, 8, 4)).astype("float32")
    expected, actual = (keras.ops.convert_to_numpy(one(images)) for one in (model, slim))
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def test_epsilon_is_added_to_a_variance_near_zero():
    """As for a constant channel, by the formula of Ioffe & Szegedy 2015."""
    inputs = keras.Input((4, 4, 2))
    convolution, norm = layers.Conv2D(4, 1, use_bias=False), layers.BatchNormalization(epsilon=1e-5)
    model = keras.Model(inputs, norm(convolution(inputs)))
    kernel, images = RNG.normal(size=(1, 1, 2, 4)), RNG.normal(size=(3, 4, 4, 2)).astype("float32")
    gamma, beta, mean = RNG.uniform(0.5, 1.5, (3, 4))
    variance = np.array([0.0, 1e-6, 1e-5, 1.0])
    convolution.set_weights([kernel])
    norm.set_weights([gamma, beta, mean, variance])
    slim = fold(model)
    assert not kinds(slim, layers.BatchNormalization)
    expected = gamma * (images @ kernel[0, 0] - mean) / np.sqrt(variance + 1e-5) + beta
    actual = keras.ops.convert_to_numpy(slim(images))
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-3)


class Standardised(layers.Conv2D):
    """Weight standardisation (Qiao et al. 2019): its kernel is not what it convolves with."""

    def convolution_op(self, inputs, kernel):
        kernel = keras.ops.convert_to_tensor(kernel)
        mean, variance = keras.ops.moments(kernel, axes=(0, 1, 2), keepdims=True)
        return super().convolution_op(inputs, (kernel - mean) / keras.ops.sqrt(variance + 1e-5))


class MonteCarlo(layers.Dropout):
    """Dropout at inference too (Gal & Ghahramani 2016)."""

    def call(self, inputs, training=None):
        return super().call(inputs, training=True)


def test_subclasses_of_keras_layers_remain():
    inputs = keras.Input((8, 8, 4))
    positive = keras.initializers.RandomUniform(0.2, 0.8)
    x = layers.BatchNormalization(gamma_initializer=positive)(Standardised(5, 3)(inputs))
    model = keras.Model(inputs, [x, MonteCarlo(0.5)(x)])
    images = RNG.normal(1, 1, (4, 8, 8, 4)).astype("float32")
    (expected, _), (actual, dropped) = (map(keras.ops.convert_to_numpy, one(images)) for one in (model, fold(model)))
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)
    assert 0.3 < (dropped == 0).mean() < 0.7


def test_layers_called_with_training_in_the_graph_remain():
    """Batch norm with the batch's own statistics, and dropout."""
    inputs = keras.Input((8, 8, 4))
    x = layers.BatchNormalization(epsilon=1e-5)(layers.Conv2D(5, 3)(inputs), training=True)
    model = keras.Model(inputs, [x, layers.Dropout(0.5)(x, training=True)])
    images = RNG.normal(20, 9, (4, 8, 8, 4)).astype("float32")
    normalised, dropped = map(keras.ops.convert_to_numpy, fold(model)(images))
    np.testing.assert_allclose(normalised.mean(axis=(0, 1, 2)), np.zeros(5), atol=1e-3)
    np.testing.assert_allclose(normalised.std(axis=(0, 1, 2)), np.ones(5), atol=1e-3)
    assert 0.3 < (dropped == 0).mean() < 0.7


def test_layers_shared_with_other_models_fold(filled):
    model = network()
    filled(model)
    free = any_size(model)
    chain(model)
    keras_resnet.features(model)
    for one in (model, free):
        slim = fold(one)
        assert not kinds(slim, layers.BatchNormalization)
        same(one, slim)


def test_a_model_compiled_with_a_custom_loss(filled):
    """Keras could not deserialise the loss; and a model for inference needs no optimizer."""

    def loss(expected, predicted):
        return keras.ops.mean(keras.ops.abs(expected - predicted), axis=-1)

    model = network()
    filled(model)
    model.compile("sgd", loss, metrics=[loss])
    for slim in (fold(model), in_dtype(model, "float32")):
        assert not slim.compiled
        same(model, slim)


def test_a_network_within_a_model_keeps_its_weights():
    """The network is a layer of the model, as in Keras's guide to transfer learning."""
    image = keras.Input((32, 32, 3))
    inside = keras_resnet.CifarResNet(8, shortcut="B", width=0.5, include_top=False, pooling="avg")
    model = keras.Model(image, layers.Dense(2)(inside(image)))
    model.set_weights([RNG.uniform(0.1, 0.3, weight.shape) for weight in model.get_weights()])
    for slim in (fold(model), in_dtype(model, "float32")):
        assert slim.layers[1].name == inside.name
        same(model, slim)


def test_lora_weights_are_folded_into_the_kernel(filled):
    model = network()
    filled(model)
    before = keras.ops.convert_to_numpy(model(IMAGES, training=False))
    for name in kinds(model, layers.Conv2D):
        layer = model.get_layer(name)
        layer.enable_lora(2)
        layer.lora_kernel_b.assign(RNG.normal(size=layer.lora_kernel_b.shape))
    assert not np.allclose(keras.ops.convert_to_numpy(model(IMAGES, training=False)), before, rtol=1e-2)
    slim = fold(model)
    assert not kinds(slim, layers.BatchNormalization)
    assert not any("lora" in weight.name for weight in slim.weights)
    same(model, slim)


def test_normalisation_and_head_stay_in_float32_in_half_precision(filled):
    model = network()
    filled(model)
    half = in_dtype(fold(model), "bfloat16")
    dtypes = {layer.name: layer.compute_dtype for layer in half.layers}
    assert {name for name, dtype in dtypes.items() if dtype == "float32"} >= {"normalization", "avg_pool", "logits"}
    assert dtypes["stem_conv"] == dtypes["stage1_unit1_add"] == half.get_layer("stem_conv").variable_dtype == "bfloat16"
    expected, actual = (keras.ops.convert_to_numpy(one(IMAGES)) for one in (model, half))
    assert 0 < np.abs(actual - expected).max() < 0.05 * np.abs(expected).max()


def test_a_network_of_mixed_precision_becomes_one_of_full_precision(filled):
    """As trained, its convolutions compute in bfloat16, and its variables are float32."""
    mixed = network(dtype="mixed_bfloat16")
    filled(mixed)
    full = in_dtype(mixed, "float32")
    assert mixed.get_layer("stem_conv").compute_dtype == "bfloat16"
    assert {layer.compute_dtype for layer in full.layers} == {"float32"}
    expected = network()
    expected.set_weights(mixed.get_weights())
    same(expected, full)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_network_of_half_precision_has_a_head_of_full_precision(filled, dtype):
    half = network(dtype=dtype)
    filled(half)
    assert half.get_layer("logits").variable_dtype == dtype
    full = in_dtype(half, "float32")
    assert {layer.compute_dtype for layer in full.layers} == {"float32"}
    expected = network()
    expected.set_weights([np.asarray(weight, "float32") for weight in half.get_weights()])
    same(expected, full)
    assert in_dtype(half, dtype).get_layer("logits").variable_dtype == "float32"


def test_a_sequential_model_is_exported_as_the_functional_one_of_its_layers(filled):
    """As for transfer learning: a network without its head in a `Sequential`, or all layers in one."""
    base = network()
    filled(base)
    kernel = layers.Conv2D(3, 3, padding="same", use_bias=False)
    model = keras.Sequential([keras.Input((32, 32, 3)), kernel, layers.BatchNormalization(), layers.ReLU(), base])
    functional = as_functional(model)
    slim = fold(functional)
    assert not kinds(slim, layers.BatchNormalization)
    same(model, slim)
    assert as_functional(functional) is functional
