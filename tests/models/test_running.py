"""Layers as they run: what Keras's compute, in training and at inference, and Keras's in every file."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
from keras import layers

from keras_resnet import CifarResNet, ResNet, ResNet20, ResNet20V2, ResNet50
from keras_resnet.models.running import BatchNormalization, Conv2D, VarianceScaling, quicken
from keras_resnet.saving import load

RNG = np.random.default_rng(0)


def twins(make, shape, dtype="float32"):
    """Keras's layers and the same as they run, in models with the same weights."""
    models = []
    for prepare in (lambda model: model, quicken):
        keras.utils.set_random_seed(1)
        image = keras.Input(shape)
        x = image
        for layer in make(dtype):
            x = layer(x)
        models.append(prepare(keras.Model(image, x)))
    for weight, other in zip(models[0].variables, models[1].variables, strict=True):
        value = RNG.uniform(0.5, 1.5, weight.shape)
        weight.assign(value)
        other.assign(value)
    return models


def numpy(tensor):
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32")))


def alike(found, expected, tolerance):
    expected = numpy(expected)
    np.testing.assert_allclose(numpy(found), expected, atol=tolerance * np.abs(expected).max(), rtol=tolerance)


def trained_alike(models, images, tolerance=1e-4):
    """Outputs of training and of inference, and every variable after a step."""
    goal = RNG.normal(size=models[0](images).shape).astype("float32")
    for training in (True, False):
        expected, found = (model(images, training=training) for model in models)
        alike(found, expected, tolerance)
    for model in models:
        model.compile(keras.optimizers.SGD(0.1), "mse")
        model.train_on_batch(images, goal)
    for expected, found in zip(models[0].variables, models[1].variables, strict=True):
        alike(found, expected, tolerance)


@pytest.mark.parametrize("shape", [(6, 6, 5), (1, 1, 5), (None, None, 5), (7,)])
@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"momentum": 0.9, "epsilon": 1e-5},
        {"scale": False},
        {"center": False},
        {"renorm": True},
        {"trainable": False},
    ],
)
def test_batch_norm(shape, choices):
    models = twins(lambda dtype: [layers.BatchNormalization(**choices)], shape)
    images = RNG.normal(3, 2, (4, *(size or 6 for size in shape))).astype("float32")
    trained_alike(models, images)


def test_batch_norm_of_one_image_and_over_another_axis():
    trained_alike(twins(lambda dtype: [layers.BatchNormalization()], (3, 3, 2)), RNG.normal(size=(1, 3, 3, 2)))
    trained_alike(twins(lambda dtype: [layers.BatchNormalization(axis=1)], (3, 4, 2)), RNG.normal(size=(5, 3, 4, 2)))


@pytest.mark.parametrize(
    ("kernel", "strides", "padding"), list(itertools.product((1, 2, 3, (3, 1)), (1, 2, (1, 2)), ("same", "valid")))
)
def test_convolutions(kernel, strides, padding):
    """Of 16 channels: of fewer, Keras's own may end the process, see `test_narrow_projections_learn_as_they_should`."""

    def make(dtype):
        return [layers.Conv2D(6, kernel, strides, padding, activation="relu")]

    trained_alike(twins(make, (9, 8, 16)), RNG.normal(size=(2, 9, 8, 16)).astype("float32"))


@pytest.mark.parametrize(
    ("kernel", "strides", "padding"),
    [(2, 1, "same"), (3, 1, "same"), ((3, 1), 1, "same"), (5, 1, "same"), (3, 2, "valid"), ((2, 3), (1, 2), "valid")],
)
def test_convolutions_of_tiny_images(kernel, strides, padding):
    models = twins(lambda dtype: [layers.Conv2D(6, kernel, strides, padding)], (4, 3, 5))
    trained_alike(models, RNG.normal(size=(2, 4, 3, 5)).astype("float32"))


@pytest.mark.parametrize(("size", "strides"), [(3, 2), (2, 2), ((2, 3), (1, 2)), (3, 1)])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_max_pooling_also_where_pixels_are_equal(size, strides, padding):
    """The gradient goes to one of them, the same one, which the kernel before tells."""

    def make(dtype):
        return [layers.Conv2D(4, 2, activation="relu"), layers.MaxPooling2D(size, strides, padding)]

    trained_alike(twins(make, (9, 8, 3)), RNG.integers(0, 2, (4, 9, 8, 3)).astype("float32"))


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


@pytest.mark.parametrize(
    "choices", [{"groups": 2}, {"dilation_rate": 2}, {"dilation_rate": (1, 3)}, {"use_bias": False}]
)
def test_convolutions_of_other_kinds(choices):
    models = twins(lambda dtype: [layers.Conv2D(6, 3, padding="same", **choices)], (9, 8, 4))
    trained_alike(models, RNG.normal(size=(2, 9, 8, 4)).astype("float32"))


@pytest.mark.parametrize("choices", [{}, {"max_value": 0.7}, {"negative_slope": 0.2}, {"threshold": 0.3}])
def test_relu(choices):
    models = twins(lambda dtype: [layers.ReLU(**choices), layers.Dense(2)], (5, 4, 3))
    trained_alike(models, RNG.normal(size=(2, 5, 4, 3)).astype("float32"))


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
    @pytest.mark.parametrize(
        ("kernel", "strides", "padding"),
        [(3, 1, "same"), (2, 1, "same"), ((1, 4), 1, "same"), (3, 2, "valid"), (7, 2, "valid"), (2, (3, 1), "valid")],
    )
    def test_kernels_learn_the_same_on_every_processor(monkeypatch, kernel, strides, padding, wide):
        """With AVX-512 XLA computes their gradients, and without it products of matrices."""
        monkeypatch.setattr(jax_layers, "avx512", lambda: wide)
        models = twins(lambda dtype: [layers.Conv2D(6, kernel, strides, padding)], (11, 9, 16))
        trained_alike(models, RNG.normal(size=(2, 11, 9, 16)).astype("float32"))

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
@pytest.mark.parametrize(("kernel", "size"), [(3, 8), (1, 8), (3, 4)])
def test_other_precisions(kernel, size, dtype):
    def make(dtype):
        return [layers.Conv2D(8, kernel, padding="same", dtype=dtype), layers.BatchNormalization(dtype=dtype)]

    images = RNG.normal(size=(8, size, size, 4)).astype("float32")
    models = twins(make, (size, size, 4), dtype)
    assert models[1](images).dtype == models[0](images).dtype
    trained_alike(models, images, 1e-4 if dtype == "float64" else 0.03)


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
        keras.models.clone_model(ResNet20V2(shortcut="B", classes=5), clone_function=with_softplus) for _ in range(2)
    )
    fast.set_weights(plain.get_weights())
    images = np.random.default_rng(2).normal(size=(8, 32, 32, 3)).astype("float32")
    trained_alike([plain, quicken(fast)], images, 1e-3)


def with_softplus(layer):
    if isinstance(layer, layers.ReLU):
        return layers.Activation("softplus", name=layer.name)
    return layer.__class__.from_config(layer.get_config())


@pytest.mark.parametrize("shape", [(3, 3, 5, 7), (1, 1, 64, 256), (3, 3, 64, 64), (17, 3), (300, 201), (9,)])
@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", None])
def test_weights_are_drawn_as_keras_draws_them(shape, mode, dtype):
    """Whatever their shape, of the same seed; also many times as many as are drawn at once, and a few more."""
    settings = {"scale": 2.0, "mode": mode, "distribution": "untruncated_normal", "seed": 7}
    expected = keras.initializers.VarianceScaling(**settings)(shape, dtype)
    found = VarianceScaling(**settings)(shape, dtype)
    assert keras.backend.standardize_dtype(found.dtype) == (dtype or "float32")
    np.testing.assert_allclose(numpy(found), numpy(expected), rtol=1e-6)


def test_weights_whose_fans_lie_elsewhere_are_drawn_as_keras_draws_them():
    settings = {"scale": 2.0, "mode": "fan_in", "distribution": "untruncated_normal", "seed": 7}
    axes = {"input_axes": [0], "output_axes": [1, 2]}
    expected = keras.initializers.VarianceScaling(**settings, **axes)((5, 3, 4))
    np.testing.assert_allclose(numpy(VarianceScaling(**settings, **axes)((5, 3, 4))), numpy(expected), rtol=1e-6)


def test_an_initializer_is_keras_own_for_whoever_writes_it_down():
    ours = VarianceScaling(2.0, "fan_out", "untruncated_normal", seed=3)
    theirs = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal", seed=3)
    assert keras.initializers.serialize(ours) == keras.initializers.serialize(theirs)
    assert type(ours.clone()) is keras.initializers.VarianceScaling
