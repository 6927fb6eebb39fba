"""The package's SGD against Caffe's update rule, with which the papers' networks were trained, in NumPy; and Muon."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import small_runs
from keras_resnet import CifarResNet
from keras_resnet.backend.devices import Devices
from keras_resnet.data import load
from keras_resnet.models.taps import taps
from keras_resnet.training.feed import Feed
from keras_resnet.training.machine import Machine
from keras_resnet.training.networks import build, optimizer_of
from keras_resnet.training.optimizer import SGD, Muon
from keras_resnet.training.recipe import Recipe
from keras_resnet.training.transfer import defaults


def caffe(weight, gradients, rates, decay, momentum=0.9, nesterov=False):
    """Returns the weight after each step: the decay is added to the gradient, and the rate is part of the velocity."""
    weight, velocity, weights = np.asarray(weight, "float64"), 0.0, []
    for gradient, rate in zip(gradients, rates, strict=True):
        gradient = gradient + decay * weight
        velocity = momentum * velocity - rate * gradient
        weight = weight + (momentum * velocity - rate * gradient if nesterov else velocity)
        weights.append(weight)
    return weights


def check_steps(decayed, nesterov):
    """Checks forty steps of the package's SGD on a kernel and two vectors; the rate drops after the fifteenth."""
    rng = np.random.default_rng(0)
    start = {name: rng.standard_normal(shape) for name, shape in {"kernel": (3, 2), "gamma": 2, "beta": 2}.items()}
    gradients = {name: rng.standard_normal((40, *value.shape)) for name, value in start.items()}
    rates = [0.1] * 15 + [0.01] * 25
    expected = {
        name: caffe(value, gradients[name], rates, 0.05 if name == "kernel" or decayed == "all" else 0.0, 0.9, nesterov)
        for name, value in start.items()
    }
    variables = [keras.Variable(value, dtype="float32", name=name) for name, value in start.items()]
    optimizer = SGD(rates[0], momentum=0.9, nesterov=nesterov, coupled_decay=0.05, decayed=decayed)
    for step, rate in enumerate(rates):
        optimizer.learning_rate = rate
        optimizer.apply([keras.ops.convert_to_tensor(gradients[name][step], "float32") for name in start], variables)
        for name, variable in zip(start, variables, strict=True):
            value = keras.ops.convert_to_numpy(variable)
            np.testing.assert_allclose(value, expected[name][step], rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("nesterov", [False, True], ids=["plain", "nesterov"])
@pytest.mark.parametrize("decayed", ["all", "kernels"])
def test_every_step_equals_caffes_also_after_a_change_of_rate(decayed, nesterov):
    check_steps(decayed, nesterov)


if keras.backend.backend() == "torch":
    import torch

    from keras_resnet.backend import torch as engine

    @pytest.mark.parametrize("nesterov", [False, True], ids=["plain", "nesterov"])
    def test_a_step_on_a_device_is_the_same_without_waiting_for_the_rate(monkeypatch, nesterov):
        monkeypatch.setattr(engine, "_on_cpu", lambda _: False)
        check_steps("kernels", nesterov)

    def test_the_rate_of_a_step_on_a_device_is_never_read():
        """With meta tensors, which have no values to read."""
        rate, gradient = torch.tensor(0.1, device="meta"), torch.ones(2, device="meta")
        with pytest.raises(RuntimeError, match=r"item\(\) cannot be called"):
            torch._foreach_add_([gradient], [gradient], alpha=rate)
        with keras.device("meta"):
            assert engine.update_arguments([gradient], [], rate)[2] == 1.0


def test_a_run_takes_the_steps_of_its_recipe():
    """In the dense layer, whose gradients are known: the product of features and errors, and the mean of the errors."""
    keras.utils.set_random_seed(0)
    data = load("digits")
    choices = {"momentum": 0.8, "nesterov": True, "weight_decay": 0.05, "decayed": "kernels", "label_smoothing": 0.2}
    recipe = small_runs.small_recipe(
        epochs=1, iterations=3, drops=(0.6,), learning_rate=0.2, drop_factor=5.0, **choices
    )
    recipe = recipe.resolve(3, defaults(recipe, data, None))
    networks = build(recipe, data)
    pooled = keras.Model(networks.model.input, taps(networks.model)["pooled"])
    dense = networks.model.get_layer("logits")
    weights, velocities = [values.astype("float64") for values in dense.get_weights()], [0.0, 0.0]
    batches = Feed(recipe, data, Devices(), Machine()).training_batches(0, 0)
    for rate, (images, labels) in zip([0.2, 0.2, 0.04], batches, strict=False):
        features = keras.ops.convert_to_numpy(pooled(images.astype("float32"), training=True)).astype("float64")
        scores = np.exp(features @ weights[0] + weights[1])
        errors = scores / scores.sum(axis=1, keepdims=True) - (0.8 * labels + 0.2 / 10)
        gradients = features.T @ errors / len(labels) + 0.05 * weights[0], errors.mean(axis=0)
        for index, gradient in enumerate(gradients):
            velocities[index] = 0.8 * velocities[index] - rate * gradient
            weights[index] = weights[index] + 0.8 * velocities[index] - rate * gradient
        networks.training_model.train_on_batch(images, labels)
        for actual, expected in zip(dense.get_weights(), weights, strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-5)


def after_decay_alone(optimizer, steps=200):
    """Returns a weight that was 1, after steps of `model.fit` with a gradient of zero."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")])
    model.compile(optimizer, loss=lambda y_true, y_pred: 0.0 * y_pred)
    model.fit(np.ones((steps, 1)), np.ones((steps, 1)), batch_size=1, verbose=0)
    return model.get_weights()[0].item()


def test_decay_is_coupled_and_not_that_of_keras():
    """200 steps at 1e-3. Coupled decay, as in Caffe, accumulates in the velocity, and 0.825 of the weight remain.

    Keras's own `weight_decay` is decoupled (Loshchilov & Hutter 2019): each step subtracts 0.1 * 1e-3 of the weight,
    and 0.9999**200 = 0.980 remain.
    """
    coupled = after_decay_alone(SGD(0.1, momentum=0.9, coupled_decay=1e-3))
    assert coupled == pytest.approx(caffe(1.0, np.zeros(200), [0.1] * 200, 1e-3)[-1], rel=1e-5)
    assert round(coupled, 3) == 0.825
    decoupled = after_decay_alone(keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=1e-3))
    assert decoupled == pytest.approx((1 - 0.1 * 1e-3) ** 200, rel=1e-5)


def test_decay_equals_l2_regularisation_with_half_the_factor():
    """In a network with batch norm in which every variable is regularised."""

    def trained(optimizer, regularizer):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.Input((4,)),
                keras.layers.Dense(8, kernel_regularizer=regularizer, bias_regularizer=regularizer),
                keras.layers.BatchNormalization(gamma_regularizer=regularizer, beta_regularizer=regularizer),
                keras.layers.Dense(3, kernel_regularizer=regularizer, bias_regularizer=regularizer),
            ]
        )
        model.compile(optimizer, loss="mse")
        rng = np.random.default_rng(0)
        model.fit(rng.random((64, 4)), rng.random((64, 3)), batch_size=8, epochs=2, shuffle=False, verbose=0)
        return model.get_weights()

    ours = trained(SGD(0.05, momentum=0.9, coupled_decay=0.02), None)
    theirs = trained(keras.optimizers.SGD(0.05, momentum=0.9), keras.regularizers.L2(0.01))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_the_optimizer_is_saved_with_its_decay(tmp_path):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(SGD(0.1, momentum=0.9, nesterov=True, coupled_decay=1e-3, decayed="kernels"), loss="mse")
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "model.keras")
    optimizer = keras.saving.load_model(tmp_path / "model.keras").optimizer
    assert isinstance(optimizer, SGD)
    assert (optimizer.coupled_decay, optimizer.decayed, optimizer.nesterov) == (1e-3, "kernels", True)


def test_the_gradients_of_four_parts_give_the_step_of_the_batch():
    rng = np.random.default_rng(0)
    gradients, start = rng.standard_normal((12, 3, 2)), rng.standard_normal((3, 2))
    variable = keras.Variable(start, dtype="float32", name="kernel")
    optimizer = SGD(0.1, momentum=0.9, coupled_decay=0.05, gradient_accumulation_steps=4)
    weights = caffe(start, gradients.reshape(3, 4, 3, 2).mean(axis=1), [0.1] * 3, 0.05)
    for step, gradient in enumerate(gradients):
        optimizer.apply([keras.ops.convert_to_tensor(gradient, "float32")], [variable])
        expected = [start, *weights][(step + 1) // 4]
        np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), expected, rtol=1e-4, atol=1e-6)


def test_averages_over_parts_of_batches_have_the_horizon_of_averages_over_batches():
    """A weight jumps from 0 to 1 with the 21st batch: four batches later, its average lacks 0.6**4 of the jump."""
    variable = keras.Variable([0.0], dtype="float32", name="kernel")
    recipe = Recipe(dataset="digits", model="resnet8", ema=0.6, accumulate=4, learning_rate=1.0, momentum=0.0)
    optimizer = optimizer_of(recipe)
    optimizer.build([variable])
    optimizer._iterations.assign(80)  # as after parts without a gradient, which JAX would compile separately
    for gradient in [-4.0, 0.0, 0.0, 0.0, *[0.0] * 16]:
        optimizer.apply([keras.ops.convert_to_tensor([gradient], "float32")], [variable])
    assert keras.ops.convert_to_numpy(variable)[0] == pytest.approx(1, abs=0.01)  # it decays a little
    optimizer.take_averages([variable])
    assert 1 - keras.ops.convert_to_numpy(variable)[0] == pytest.approx(0.6**4, rel=0.15)


def test_an_average_forgets_the_random_beginning_of_a_short_run():
    """The momentum of the average is at most (1 + n) / (10 + n) after n steps."""
    variable = keras.Variable([0.0], dtype="float32", name="kernel")
    optimizer = SGD(1.0, use_ema=True, ema_momentum=0.999)
    expected, weight = 0.0, 0.0
    for step in range(40):
        optimizer.apply([keras.ops.convert_to_tensor([-0.1])], [variable])
        weight += 0.1
        momentum = 0 if step == 0 else min(0.999, (1 + step) / (10 + step))  # as in Keras, 0 at the first step
        expected = momentum * expected + (1 - momentum) * weight
    optimizer.take_averages([variable])
    assert keras.ops.convert_to_numpy(variable)[0] == pytest.approx(expected, rel=1e-4)
    assert expected > 0.8 * weight
    assert optimizer.get_config()["ema_momentum"] == 0.999


def test_muon_updates_a_kernel_by_its_orthogonalised_momentum_and_keeps_its_norm():
    """Checked with NumPy's singular values. The iteration gives values between 0.65 and 1.25; the rest is exact."""
    rng = np.random.default_rng(0)
    shape, rates, momentum = (3, 3, 4, 8), [0.2, 0.1], 0.5
    kernel = keras.Variable(rng.standard_normal(shape), dtype="float32", name="kernel")
    gamma = keras.Variable(rng.standard_normal(8), dtype="float32", name="gamma")
    head = keras.Variable(rng.standard_normal((8, 3)), dtype="float32", name="kernel")
    optimizer = Muon(
        rates[0],
        kernel_rate=0.3,
        kernel_momentum=momentum,
        highest_rate=rates[0],
        momentum=0.9,
        coupled_decay=0.05,
        decayed="kernels",
    )
    gradients = [rng.standard_normal((len(rates), *variable.shape)) for variable in (kernel, gamma, head)]
    others = {
        "gamma": caffe(keras.ops.convert_to_numpy(gamma), gradients[1], rates, 0.0),
        "head": caffe(keras.ops.convert_to_numpy(head), gradients[2], rates, 0.05),
    }
    velocity = np.zeros(shape)
    for step, rate in enumerate(rates):
        before = keras.ops.convert_to_numpy(kernel).reshape(-1, 8).astype("float64")
        optimizer.learning_rate = rate
        tensors = [keras.ops.convert_to_tensor(gradient[step], "float32") for gradient in gradients]
        optimizer.apply(tensors, [kernel, gamma, head])
        after = keras.ops.convert_to_numpy(kernel).reshape(-1, 8)
        assert np.linalg.norm(after) == pytest.approx(np.linalg.norm(before), rel=1e-5)
        velocity = momentum * velocity + gradients[0][step]
        left, _, right = np.linalg.svd((gradients[0][step] + momentum * velocity).reshape(-1, 8), full_matrices=False)
        # Up to its norm, `after` is `before` minus an orthogonal step, which is diagonal between the singular vectors:
        # among scales of `after`, the one that comes closest to a diagonal is the right one.
        share = 0.3 * rate / rates[0] * np.linalg.norm(before) / np.sqrt(8)
        scales = np.linspace(0.9, 1.3, 4001)
        steps = [left.T @ (before - scale * after) @ right.T / share for scale in scales]
        orthogonal_step = min(steps, key=lambda matrix: np.abs(matrix - np.diag(np.diag(matrix))).max())
        values = np.diag(orthogonal_step)
        np.testing.assert_allclose(orthogonal_step, np.diag(values), atol=5e-3)
        assert values.min() > 0.65 and values.max() < 1.25, values
        for name, variable in (("gamma", gamma), ("head", head)):
            value = keras.ops.convert_to_numpy(variable)
            np.testing.assert_allclose(value, others[name][step], rtol=1e-5, atol=1e-5, err_msg=name)


def test_a_residual_that_starts_at_zero_learns_with_muon_too():
    """Its first step gives it the norm of He's initialisation: n weights of variance 2 / fan-out."""
    keras.utils.set_random_seed(0)
    model = CifarResNet(8, order="full_preactivation", zero_init_residual=True, input_shape=(32, 32, 3))
    model.compile(Muon(0.1, momentum=0.9), loss="sparse_categorical_crossentropy")
    kernels = [variable for variable in model.trainable_variables if len(variable.shape) == 4]
    before = norms(kernels)
    rng = np.random.default_rng(0)
    images, labels = rng.random((8, 32, 32, 3)), np.arange(8)
    for _ in range(3):
        model.train_on_batch(images, labels)
    assert all(np.isfinite(weights).all() for weights in model.get_weights())
    he = [np.sqrt(np.prod(kernel.shape) * 2 / np.prod((*kernel.shape[:2], kernel.shape[3]))) for kernel in kernels]
    assert before.count(0) == 3  # one unit per stage
    expected = [one or other for one, other in zip(before, he, strict=True)]
    np.testing.assert_allclose(norms(kernels), expected, rtol=1e-4)


def norms(variables):
    return [np.linalg.norm(keras.ops.convert_to_numpy(variable)) for variable in variables]


def test_a_kernel_of_zeros_stays_until_it_has_a_gradient_and_then_goes_against_it():
    kernel = keras.Variable(np.zeros((3, 3, 4, 8)), dtype="float32", name="kernel")
    optimizer = Muon(0.1, momentum=0.9)
    optimizer.apply([keras.ops.zeros(kernel.shape)], [kernel])
    assert norms([kernel]) == [0]
    gradient = np.random.default_rng(0).standard_normal(kernel.shape)
    optimizer.apply([keras.ops.convert_to_tensor(gradient, "float32")], [kernel])
    left, _, right = np.linalg.svd(gradient.reshape(-1, 8), full_matrices=False)
    values = -np.diag(left.T @ keras.ops.convert_to_numpy(kernel).reshape(-1, 8) @ right.T)
    assert 1 <= values.max() / values.min() < 1.25 / 0.65  # all directions nearly equal
    assert norms([kernel]) == pytest.approx([np.sqrt(2 * 4)], rel=1e-4)


def test_muon_is_restored_from_its_configuration():
    choices = {"optimizer": "muon", "kernel_rate": 0.2, "learning_rate": 0.4, "epochs": 1, "schedule": "plateau"}
    optimizer = optimizer_of(Recipe(dataset="digits", **choices))
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(again) is Muon
    assert (again.kernel_rate, again.kernel_momentum, again.highest_rate) == (0.2, 0.6, 0.4)
    for zero in ({"learning_rate": 0.0}, {"momentum": 0.0}):
        with pytest.raises(ValueError, match="must be above 0 for muon"):
            Recipe(dataset="digits", optimizer="muon", **zero)
