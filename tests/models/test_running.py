"""Layers as they run: what Keras's compute, in training and at inference, and Keras's in every file."""

from __future__ import annotations

import itertools
import re

import keras
import numpy as np
import pytest
from keras import layers

from comparing import alike, numpy
from keras_resnet import CifarResNet, ResNet, ResNet20, ResNet50
from keras_resnet.models.running import BatchNormalization, Conv2D, quicken
from keras_resnet.saving import load

RNG = np.random.default_rng(0)


def twins(make, shape, dtype="float32"):
    """Keras's layers and the same as they run, in models with the same weights.

    Several of them, by name, are branches of one model, which learns all at once and in no other's way: what takes time
    is to trace and to compile.
    """
    branches = make if isinstance(make, dict) else {"": make}
    models = []
    for prepare in (lambda model: model, quicken):
        keras.utils.set_random_seed(1)
        image = keras.Input(shape)
        outputs = []
        for place, (name, make_one) in enumerate(branches.items()):
            x = image
            for number, layer in enumerate(make_one(dtype)):
                if name:  # for messages
                    layer.name = re.sub(r"\W+", "_", f"branch {place} {name} {number}")
                x = layer(x)
            outputs.append(x)
        models.append(prepare(keras.Model(image, outputs if len(outputs) > 1 else outputs[0])))
    for weight, other in zip(models[0].variables, models[1].variables, strict=True):
        value = RNG.uniform(0.5, 1.5, weight.shape)
        weight.assign(value)
        other.assign(value)
    return models


def trained_alike(models, images, tolerance=1e-4):
    """Outputs of training and of inference, and every variable after a step."""
    names = models[0].output_names
    for training in (True, False):
        found = [keras.tree.flatten(model(images, training=training)) for model in models]
        for name, expected, other in zip(names, *found, strict=True):
            assert other.dtype == expected.dtype, name
            alike(other, expected, tolerance, name)
    goals = [RNG.normal(size=output.shape).astype("float32") for output in found[0]]
    for model in models:
        model.compile(keras.optimizers.SGD(0.1), "mse")
        model.train_on_batch(images, goals if len(goals) > 1 else goals[0])
    for expected, found in zip(models[0].variables, models[1].variables, strict=True):
        alike(found, expected, tolerance, expected.path)


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


def convolutions(chosen, **choices):
    """A branch for each kernel, strides and padding."""
    return {str(each): lambda dtype, each=each: [layers.Conv2D(6, *each, **choices)] for each in chosen}


def test_convolutions():
    """Of 16 channels: of fewer, Keras's own may end the process, see `test_narrow_projections_learn_as_they_should`."""
    chosen = itertools.product((1, 2, 3, (3, 1)), (1, 2, (1, 2)), ("same", "valid"))
    models = twins(convolutions(chosen, activation="relu"), (9, 8, 16))
    trained_alike(models, RNG.normal(size=(2, 9, 8, 16)).astype("float32"))


def test_convolutions_of_tiny_images():
    chosen = [(2, 1, "same"), (3, 1, "same"), ((3, 1), 1, "same"), (5, 1, "same")]
    chosen += [(3, 2, "valid"), ((2, 3), (1, 2), "valid")]
    trained_alike(twins(convolutions(chosen), (4, 3, 5)), RNG.normal(size=(2, 4, 3, 5)).astype("float32"))


def test_max_pooling_also_where_pixels_are_equal():
    """The gradient goes to one of them, the same one, which the kernel before tells."""
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


def test_max_pooling_of_what_is_no_number():
    """In windows of 3x3; in those of 2x2, XLA's own loses it."""
    images = RNG.normal(size=(40, 9, 8, 3)).astype("float32")
    images[RNG.uniform(size=images.shape) < 0.05] = np.nan
    expected, found = (model(images) for model in twins(lambda dtype: [layers.MaxPooling2D(3, 2)], (9, 8, 3)))
    np.testing.assert_array_equal(numpy(found), numpy(expected))


@pytest.mark.parametrize("batch", [3, 29])
def test_narrow_projections_learn_as_they_should(batch):
    """oneDNN, of Keras's layers on TensorFlow and Torch, writes past its memory (uxlfoundation/oneDNN#6035)."""
    image = keras.Input((32, 32, 4))
    model = quicken(keras.Model(image, layers.Conv2D(8, 1, 2, padding="same", use_bias=False)(image)))
    images = RNG.normal(size=(batch, 32, 32, 4)).astype("float32")
    before = model.get_weights()[0]
    model.compile(keras.optimizers.SGD(0.1), "mse")
    for _ in range(3):
        model.set_weights([before])
        model.train_on_batch(images, np.zeros((batch, 16, 16, 8)))
        seen = images[:, ::2, ::2].astype("float64")
        gradient = np.einsum("bhwi,bhwo->io", seen, 2 * np.einsum("bhwi,io->bhwo", seen, before[0, 0]))
        expected = before - 0.1 * gradient / (batch * 16 * 16 * 8)
        alike(model.weights[0], expected.astype("float32"), 1e-4)


def test_convolutions_of_other_kinds():
    kinds = [{"groups": 2}, {"dilation_rate": 2}, {"dilation_rate": (1, 3)}, {"use_bias": False}]
    branches = {
        str(choices): lambda dtype, choices=choices: [layers.Conv2D(6, 3, padding="same", **choices)]
        for choices in kinds
    }
    trained_alike(twins(branches, (9, 8, 4)), RNG.normal(size=(2, 9, 8, 4)).astype("float32"))


def test_relu():
    kinds = [{}, {"max_value": 0.7}, {"negative_slope": 0.2}, {"threshold": 0.3}]
    branches = {
        str(choices): lambda dtype, choices=choices: [layers.ReLU(**choices), layers.Dense(2)] for choices in kinds
    }
    trained_alike(twins(branches, (5, 4, 3)), RNG.normal(size=(2, 5, 4, 3)).astype("float32"))


def test_relu_at_zero_and_of_what_is_no_number():
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


if keras.backend.backend() == "jax":
    import jax

    from keras_resnet.backend import jax_layers

    @pytest.mark.parametrize("wide", [True, False])
    def test_kernels_learn_the_same_on_every_processor(monkeypatch, wide):
        """With AVX-512 XLA computes their gradients, and without it products of matrices."""
        monkeypatch.setattr(jax_layers, "avx512", lambda: wide)
        chosen = [(3, 1, "same"), (2, 1, "same"), ((1, 4), 1, "same")]
        chosen += [(3, 2, "valid"), (7, 2, "valid"), (2, (3, 1), "valid")]
        models = twins(convolutions(chosen), (11, 9, 16))
        trained_alike(models, RNG.normal(size=(2, 11, 9, 16)).astype("float32"))

    @pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
    def test_max_pooling_in_half_precision_is_that_of_keras_in_float32(dtype):
        image = keras.Input((9, 8, 3), dtype=dtype)
        fast = quicken(keras.Model(image, layers.MaxPooling2D(3, 2, dtype=dtype)(image)))
        images, gradient = (RNG.normal(size=(2, *shape)).astype(dtype) for shape in ((9, 8, 3), (4, 3, 3)))
        found, back = jax.vjp(fast, images)
        expected, expected_back = jax.vjp(layers.MaxPooling2D(3, 2), images.astype("float32"))
        assert found.dtype == dtype
        np.testing.assert_array_equal(numpy(found), numpy(expected))
        alike(back(gradient)[0], expected_back(gradient.astype("float32"))[0], 0.01)

    @pytest.mark.parametrize(("strides", "padding"), [(1, "same"), (2, "valid")])
    def test_a_convolution_has_all_derivatives_of_keras_also_forward(monkeypatch, strides, padding):
        monkeypatch.setattr(jax_layers, "avx512", lambda: False)
        plain, fast = twins(lambda dtype: [layers.Conv2D(3, 3, strides, padding, use_bias=False)], (7, 6, 16))
        images, along = (RNG.normal(size=(2, 7, 6, 16)).astype("float32") for _ in range(2))
        kernel, kernel_along = (RNG.normal(size=(3, 3, 16, 3)).astype("float32") for _ in range(2))
        found, expected = [], []
        for model, derivatives in ((fast, found), (plain, expected)):

            def cubes(kernel, images, model=model):
                return (model.stateless_call([kernel], [], images)[0] ** 3).sum()

            derivatives += jax.jvp(cubes, (kernel, images), (kernel_along, along))
            derivatives.append(jax.jvp(jax.grad(cubes), (kernel, images), (kernel_along, along))[1])
        for one, other in zip(found, expected, strict=True):
            alike(one, other, 1e-4)

    def test_no_images_have_no_answers():
        """On TensorFlow, Keras's own convolutions fail where there are none."""
        assert ResNet50(input_shape=(32, 32, 3), classes=3)(np.zeros((0, 32, 32, 3), "float32")).shape == (0, 3)

    @pytest.mark.parametrize("order", ["original", "full_preactivation"])
    def test_a_unit_is_not_computed_again_by_those_behind_it(order):
        """XLA makes of what it computes at once a fusion; none may take more of a stage with more units."""

        def operands(units):
            model = ResNet([units], [16], order=order, stem="cifar", input_shape=(8, 8, 3), classes=3)
            kinds = model.trainable_variables, model.non_trainable_variables
            state = [[variable.value for variable in kind] for kind in kinds]

            def loss(learned, others, images):
                return keras.ops.sum(model.stateless_call(learned, others, images, training=True)[0] ** 2)

            compiled = jax.jit(jax.grad(loss)).lower(*state, np.zeros((4, 8, 8, 3), "float32")).compile().as_text()
            return max(line.partition("fusion(")[2].partition(")")[0].count("%") for line in compiled.splitlines())

        assert 3 <= operands(9) <= operands(3) + 1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_whole_network_in_half_precision_answers_as_keras_has_it(dtype):
    """Its statistics too, which kernels do not take."""
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
    """Also of a tiny image, the middle of the others."""

    def branch(kernel, *before):
        return lambda dtype: [
            *(layer(dtype=dtype) for layer in before),
            layers.Conv2D(8, kernel, padding="same", dtype=dtype),
            layers.BatchNormalization(dtype=dtype),
        ]

    branches = {"3": branch(3), "1": branch(1), "3 tiny": branch(3, lambda dtype: layers.Cropping2D(2, dtype=dtype))}
    images = RNG.normal(size=(8, 8, 8, 4)).astype("float32")
    trained_alike(twins(branches, (8, 8, 4), dtype), images, 1e-4 if dtype == "float64" else 0.03)


def test_networks_are_built_of_layers_that_run_fast_and_are_keras_to_others(tmp_path):
    model = ResNet20()
    assert {type(layer) for layer in model.layers} >= {BatchNormalization, Conv2D}
    assert {layer.__class__ for layer in model.layers} >= {layers.BatchNormalization, layers.Conv2D}
    model.save(tmp_path / "model.keras")
    for plain in (keras.saving.load_model(tmp_path / "model.keras"), keras.models.clone_model(model)):
        assert not {type(layer) for layer in plain.layers} & {BatchNormalization, Conv2D}
    images = RNG.normal(size=(2, 32, 32, 3)).astype("float32")
    plain = keras.saving.load_model(tmp_path / "model.keras")
    alike(plain(images), model(images), 1e-5)


def test_a_whole_network_learns_the_same():
    """With softplus for ReLU, whose gradient is another where rounding changes the sign of what comes in."""
    keras.utils.set_random_seed(2)
    plain, fast = (
        keras.models.clone_model(CifarResNet(8, order="full_preactivation", shortcut="B"), clone_function=with_softplus)
        for _ in range(2)
    )
    fast.set_weights(plain.get_weights())
    images = np.random.default_rng(2).normal(size=(8, 32, 32, 3)).astype("float32")
    trained_alike([plain, quicken(fast)], images, 1e-3)


def with_softplus(layer):
    if isinstance(layer, layers.ReLU):
        return layers.Activation("softplus", name=layer.name)
    return layer.__class__.from_config(layer.get_config())


if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    @pytest.mark.parametrize("kernel", [1, 3])
    def test_a_convolution_has_second_derivatives_of_keras(kernel):
        plain, fast = twins(lambda dtype: [layers.Conv2D(6, kernel, use_bias=False)], (7, 6, 16))
        images = tf.constant(RNG.normal(size=(2, 7, 6, 16)).astype("float32"))
        found, expected = [], []
        for model, derivatives in ((fast, found), (plain, expected)):
            with tf.GradientTape() as second:
                second.watch(images)
                with tf.GradientTape() as first:
                    first.watch(images)
                    cubes = tf.reduce_sum(model(images) ** 3)
                gradients = first.gradient(cubes, [images, *model.trainable_variables])
                slope = sum(tf.reduce_sum(gradient**2) for gradient in gradients)
            derivatives += [*gradients, *second.gradient(slope, [images, *model.trainable_variables])]
        for one, other in zip(found, expected, strict=True):
            alike(one, other, 1e-4)
