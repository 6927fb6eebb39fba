"""Shortcuts and skips compute the papers' formulas."""

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet.models.keras_layers import KerasLayers
from keras_resnet.models.spec import ALWAYS_RECORDED

IMAGES = np.random.default_rng(0).random((2, 32, 32, 3), "float32")


def outputs(model, *names):
    taps = keras.Model(model.input, [model.get_layer(name).output for name in names])
    return [keras.ops.convert_to_numpy(tensor) for tensor in taps(IMAGES)]


def test_option_a_takes_every_second_position_and_appends_zeros():
    model = keras_resnet.CifarResNet(8, shortcut="A")
    before, after = outputs(model, "stage1_unit1_relu2", "stage2_unit1_shortcut_pad")
    expected = np.zeros((2, 16, 16, 32), "float32")
    expected[..., :16] = before[:, ::2, ::2]
    np.testing.assert_array_equal(after, expected)


def test_option_a_with_the_channels_first():
    layers = KerasLayers("channels_first", dtype=None, bn_momentum=0.9, bn_epsilon=1e-5)
    image = keras.Input((3, 5, 7))
    model = keras.Model(image, layers.zero_padding(layers.subsample(image, "subsample", 2), "pad", 8))
    images = np.random.default_rng(1).random((2, 3, 5, 7), "float32")
    expected = np.zeros((2, 8, 3, 4), "float32")
    expected[:, :3] = images[:, :, ::2, ::2]
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(model(images)), expected)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def skipped(skip, **numbers):
    """Returns a model, and input, residual and sum of a unit that keeps the shape, the second of its stage."""
    model = keras_resnet.CifarResNet(14, skip=skip, **numbers)
    x, residual, total = outputs(model, "stage1_unit1_relu2", "stage1_unit2_bn2", "stage1_unit2_add")
    return model, x, residual, total


def test_identity():
    _, x, residual, total = skipped("identity")
    np.testing.assert_allclose(total, x + residual, atol=1e-6)


@pytest.mark.parametrize(("shortcut", "factor"), [(0.0, 1.0), (0.5, 1.0), (0.5, 0.5)])
def test_constant_scaling(shortcut, factor):
    _, x, residual, total = skipped("constant_scaling", shortcut_scale=shortcut, residual_scale=factor)
    np.testing.assert_allclose(total, shortcut * x + factor * residual, atol=1e-6)


@pytest.mark.parametrize(("skip", "gates_residual"), [("exclusive_gating", True), ("shortcut_only_gating", False)])
@pytest.mark.parametrize("bias", [0.0, -6.0])
def test_gating(skip, gates_residual, bias):
    model, x, residual, total = skipped(skip, gate_bias=bias)
    layer = model.get_layer("stage1_unit2_gate")
    kernel, start = (keras.ops.convert_to_numpy(weight) for weight in layer.weights)
    assert (start == bias).all()
    assert kernel.shape == (1, 1, 16, 16)
    gate = sigmoid(x @ kernel[0, 0] + bias)
    np.testing.assert_allclose(total, (1 - gate) * x + (gate if gates_residual else 1) * residual, atol=1e-5)


def test_1x1_convolution():
    model, x, residual, total = skipped("conv")
    kernel = keras.ops.convert_to_numpy(model.get_layer("stage1_unit2_shortcut_conv").kernel)
    # A fresh batch norm in inference divides by sqrt(1 + epsilon).
    np.testing.assert_allclose(total, x @ kernel[0, 0] / np.sqrt(1 + 1e-5) + residual, atol=1e-5)


def test_dropout_applies_only_to_the_shortcut_and_only_in_training():
    model, x, residual, total = skipped("dropout", skip_dropout=0.25)
    np.testing.assert_allclose(total, x + residual, atol=1e-6)
    dropout = model.get_layer("stage1_unit2_shortcut_dropout")
    assert dropout.rate == 0.25
    dropped = keras.ops.convert_to_numpy(dropout(np.ones((100, 10, 10, 16), "float32"), training=True))
    np.testing.assert_allclose(np.unique(dropped), [0, 1 / 0.75], rtol=1e-6)
    assert abs((dropped == 0).mean() - 0.25) < 0.01


def test_stochastic_depth_drops_whole_samples():
    model = keras_resnet.CifarResNet(8, stochastic_depth=0.5)
    drop = model.get_layer("stage3_unit1_drop")
    kept = keras.ops.convert_to_numpy(drop(np.ones((400, 3, 3, 4), "float32"), training=True)).reshape(400, -1)
    assert (kept == kept[:, :1]).all()
    assert set(np.unique(kept)) == {0, 2}
    assert abs(kept[:, 0].mean() - 1) < 0.2


def where_the_shape_changes(skip, **numbers):
    """The same as `skipped` for a unit with option A that halves the map, with the padded shortcut."""
    model = keras_resnet.CifarResNet(8, shortcut="A", skip=skip, **numbers)
    names = ("stage1_unit1_relu2", "stage2_unit1_bn2", "stage2_unit1_add")
    x, residual, total = outputs(model, *names)
    x = x[:, ::2, ::2]
    return model, x, np.concatenate([x, np.zeros_like(x)], axis=-1), residual, total


@pytest.mark.parametrize(("shortcut", "factor"), [(0.0, 1.0), (0.5, 1.0), (0.5, 0.5)])
def test_constant_scaling_where_the_shape_changes(shortcut, factor):
    """2016, table 1: "applied to all Residual Units"; "lambda = 0.5 for all shortcuts"."""
    choices = {"shortcut_scale": shortcut, "residual_scale": factor}
    _, _, padded, residual, total = where_the_shape_changes("constant_scaling", **choices)
    np.testing.assert_allclose(total, shortcut * padded + factor * residual, atol=1e-6)


@pytest.mark.parametrize(("skip", "gates_residual"), [("exclusive_gating", True), ("shortcut_only_gating", False)])
def test_gating_where_the_shape_changes(skip, gates_residual):
    model, x, padded, residual, total = where_the_shape_changes(skip, gate_bias=-1.0)
    kernel, start = (keras.ops.convert_to_numpy(weight) for weight in model.get_layer("stage2_unit1_gate").weights)
    assert (kernel.shape, start.shape) == ((1, 1, 16, 32), (32,))
    gate = sigmoid(x @ kernel[0, 0] - 1.0)
    np.testing.assert_allclose(total, (1 - gate) * padded + (gate if gates_residual else 1) * residual, atol=1e-5)


def test_dropout_where_the_shape_changes():
    model, _, padded, residual, total = where_the_shape_changes("dropout", skip_dropout=0.25)
    np.testing.assert_allclose(total, padded + residual, atol=1e-6)
    dropout = model.get_layer("stage2_unit1_shortcut_dropout")
    assert dropout.rate == 0.25
    assert dropout.input is model.get_layer("stage2_unit1_shortcut_pad").output


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_a_1x1_convolution_in_all_units_is_option_c(shortcut):
    model, c = (keras_resnet.CifarResNet(14, **choices) for choices in ({"skip": "conv", "shortcut": shortcut}, C))
    assert [layer.name for layer in model.layers] == [layer.name for layer in c.layers]
    assert [weight.shape for weight in model.weights] == [weight.shape for weight in c.weights]


C = {"shortcut": "C"}


def test_a_skip_is_in_all_units_or_only_where_the_shape_stays():
    """The latter is how networks were before `skip_everywhere` existed."""
    same_shape = ["stage1_unit1", "stage1_unit2", "stage2_unit2", "stage3_unit2"]
    for everywhere, units in ((True, sorted({*same_shape, "stage2_unit1", "stage3_unit1"})), (False, same_shape)):
        choices = {"skip": "exclusive_gating", "shortcut": "B", "skip_everywhere": everywhere}
        model = keras_resnet.CifarResNet(14, **choices)
        assert [layer.name for layer in model.layers if layer.name.endswith("_gate")] == [f"{u}_gate" for u in units]
        assert model.get_layer("stage2_unit1_shortcut_conv").strides == (2, 2)
    assert keras_resnet.ResNet20.spec.skip_everywhere


def test_a_skip_is_in_all_units_however_many_choices_are_given():
    """`Spec` documents that as the default; a file of an earlier version with as many choices has another one."""
    usual = {name: getattr(keras_resnet.ResNet20.spec, name) for name in ALWAYS_RECORDED}
    choices = {**usual, "skip": "shortcut_only_gating"}
    model = keras_resnet.ResNet((1, 1), (4, 8), classes=3, **choices)
    assert {"stage1_unit1_gate", "stage2_unit1_gate"} <= {layer.name for layer in model.layers}


def test_without_a_shortcut_nothing_carries_the_signal():
    """2016, table 1: constant scaling 0, 1 is a plain net."""
    _, _, _, residual, total = where_the_shape_changes("constant_scaling", shortcut_scale=0.0, residual_scale=1.0)
    np.testing.assert_array_equal(total, residual)


def test_a_projection_has_the_batch_norm_that_its_order_puts_after_a_convolution():
    with_norm = {"original", "relu_before_addition", "relu_only_preactivation"}
    for order in [*with_norm, "bn_after_addition", "full_preactivation"]:
        names = {layer.name for layer in keras_resnet.CifarResNet(8, order=order, shortcut="B").layers}
        assert ("stage2_unit1_shortcut_bn" in names) == (order in with_norm)
