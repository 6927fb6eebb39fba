"""The layers of a network are where the papers draw them."""

import importlib.util

import keras
import numpy as np
import pytest

import keras_resnet
from facts import ORDERS
from keras_resnet import Spec
from keras_resnet.models.units import expand

V2 = {"order": "full_preactivation"}
KINDS = {keras.layers.Conv2D: "conv", keras.layers.BatchNormalization: "bn", keras.layers.ReLU: "relu"}


def unit_layers(model, unit):
    """The kinds of a unit's layers on the main path, in the order in which they are computed."""
    drawn = []
    for layer in model.layers:
        if layer.name.startswith(f"{unit}_") and "shortcut" not in layer.name:
            drawn.append("+" if layer.name.endswith("_add") else KINDS[layer.__class__])
    return " ".join(drawn)


def source(layer):
    """The names of the layers that a layer takes its inputs from."""
    inputs = layer.input if isinstance(layer.input, list) else [layer.input]
    return [tensor._keras_history.operation.name for tensor in inputs]


@pytest.mark.parametrize(("order", "drawing"), ORDERS.items())
def test_a_unit_reads_like_its_drawing(order, drawing):
    model = keras_resnet.ResNet20(order=order)
    assert unit_layers(model, "stage2_unit2") == drawing


@pytest.mark.parametrize(
    ("unit", "order", "drawing"),
    [
        ("bottleneck", "original", "conv bn relu conv bn relu conv bn + relu"),
        ("bottleneck", "full_preactivation", "bn relu conv bn relu conv bn relu conv +"),
        ("bottleneck", "bn_after_addition", "conv bn relu conv bn relu conv + bn relu"),
        ("one_layer", "original", "conv bn + relu"),
        ("one_layer", "full_preactivation", "bn relu conv +"),
        ("one_layer", "relu_only_preactivation", "relu conv bn +"),
    ],
)
def test_the_same_row_serves_units_of_three_layers_and_of_one(unit, order, drawing):
    model = keras_resnet.CifarResNet(20 if unit == "bottleneck" else 14, unit=unit, order=order)
    assert unit_layers(model, "stage2_unit2") == drawing


def test_a_plain_unit_has_no_addition():
    model = keras_resnet.PlainNet20()
    assert unit_layers(model, "stage2_unit2") == "conv bn relu conv bn relu"
    assert not any(isinstance(layer, keras.layers.Add) for layer in model.layers)


def test_layer_names_are_stable():
    names = [layer.name for layer in keras_resnet.CifarResNet(8, shortcut="B").layers]
    assert names == [
        "image", "stem_conv", "stem_bn", "stem_relu",
        "stage1_unit1_conv1", "stage1_unit1_bn1", "stage1_unit1_relu1",
        "stage1_unit1_conv2", "stage1_unit1_bn2", "stage1_unit1_add", "stage1_unit1_relu2",
        "stage2_unit1_conv1_pad", "stage2_unit1_conv1", "stage2_unit1_bn1", "stage2_unit1_relu1",
        "stage2_unit1_shortcut_conv", "stage2_unit1_conv2", "stage2_unit1_shortcut_bn", "stage2_unit1_bn2",
        "stage2_unit1_add", "stage2_unit1_relu2",
        "stage3_unit1_conv1_pad", "stage3_unit1_conv1", "stage3_unit1_bn1", "stage3_unit1_relu1",
        "stage3_unit1_shortcut_conv", "stage3_unit1_conv2", "stage3_unit1_shortcut_bn", "stage3_unit1_bn2",
        "stage3_unit1_add", "stage3_unit1_relu2",
        "avg_pool", "logits", "predictions",
    ]  # fmt: skip
    v2 = {layer.name for layer in keras_resnet.ResNet50V2(input_shape=(32, 32, 3)).layers}
    assert {"stem_pool_pad", "stem_pool", "stage1_unit1_conv3", "stage4_unit3_bn3", "head_bn", "head_relu"} <= v2
    assert "stage1_unit1_bn1" not in v2  # its activation is in the stem


@pytest.mark.parametrize("order", ["relu_only_preactivation", "full_preactivation"])
def test_the_first_unit_shares_one_activation_before_the_split(order):
    """He et al. 2016, appendix."""
    model = keras_resnet.ResNet20(order=order)
    assert source(model.get_layer("stage1_unit1_conv1")) == ["stem_relu"]
    assert source(model.get_layer("stage1_unit1_add"))[0] == "stem_relu"
    # The second unit has its own, after the split.
    assert source(model.get_layer("stage1_unit2_add"))[0] == "stage1_unit1_add"


def test_the_last_unit_is_followed_by_an_extra_activation():
    """He et al. 2016, appendix."""
    full = keras_resnet.ResNet20(order="full_preactivation")
    assert source(full.get_layer("head_bn")) == ["stage3_unit3_add"]
    assert source(full.get_layer("head_relu")) == ["head_bn"]
    assert source(full.get_layer("avg_pool")) == ["head_relu"]
    relu_only = keras_resnet.ResNet20(order="relu_only_preactivation")
    assert source(relu_only.get_layer("head_relu")) == ["stage3_unit3_add"]
    assert source(keras_resnet.ResNet20().get_layer("avg_pool")) == ["stage3_unit3_relu2"]


def test_projections_see_the_preactivated_input_and_zero_padding_the_raw_one():
    """He et al. 2016, appendix."""
    projected = keras_resnet.ResNet20V2(shortcut="B")
    assert source(projected.get_layer("stage2_unit1_shortcut_conv")) == ["stage2_unit1_relu1"]
    padded = keras_resnet.ResNet20V2(shortcut="A")
    assert source(padded.get_layer("stage2_unit1_shortcut_pad_subsample")) == ["stage1_unit3_add"]


def test_the_stride_is_in_the_first_convolution_or_in_the_3x3():
    paper = keras_resnet.ResNet50(input_shape=(64, 64, 3))
    assert [paper.get_layer(f"stage2_unit1_conv{i}").strides[0] for i in (1, 2, 3)] == [2, 1, 1]
    v15 = keras_resnet.ResNet50(input_shape=(64, 64, 3), stride_on="3x3")
    assert [v15.get_layer(f"stage2_unit1_conv{i}").strides[0] for i in (1, 2, 3)] == [1, 2, 1]
    basic = keras_resnet.ResNet18(input_shape=(64, 64, 3), stride_on="3x3")
    assert [basic.get_layer(f"stage2_unit1_conv{i}").strides[0] for i in (1, 2)] == [2, 1]


def test_a_plain_net_may_halve_the_map_by_max_pooling():
    model = keras_resnet.PlainNet20(downsample="max_pool")
    assert [layer.name for layer in model.layers if isinstance(layer, keras.layers.MaxPooling2D)] == [
        "stage2_pool",
        "stage3_pool",
    ]
    assert all(layer.strides == (1, 1) for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    assert keras_resnet.taps(model)["stage3"].shape[1:] == (8, 8, 64)


def test_batch_norm_has_the_papers_momentum_and_epsilon_by_default():
    norm = keras_resnet.ResNet20().get_layer("stage1_unit1_bn1")
    assert (norm.momentum, norm.epsilon) == (0.9, 1e-5)
    norm = keras_resnet.ResNet20(bn_momentum=0.99, bn_epsilon=1e-3).get_layer("stage1_unit1_bn1")
    assert (norm.momentum, norm.epsilon) == (0.99, 1e-3)


def test_stochastic_depth_drops_more_the_deeper():
    """The linear rule of Huang et al. 2016."""
    model = keras_resnet.ResNet20(stochastic_depth=0.45)
    rates = [layer.rate for layer in model.layers if layer.name.endswith("_drop")]
    np.testing.assert_allclose(rates, np.linspace(0.05, 0.45, 9))


def test_width_widens_the_stages_and_not_the_stem():
    model = keras_resnet.ResNet20(width=2.5)
    assert model.get_layer("stem_conv").filters == 16
    assert [model.get_layer(f"stage{stage}_unit1_conv1").filters for stage in (1, 2, 3)] == [40, 80, 160]


def test_parts_of_an_order_are_numbered_by_kind():
    before, residual, after = expand("full_preactivation", 2)
    assert before == [("bn", 1), ("relu", 1)]
    assert residual == [("conv", 1), ("bn", 2), ("relu", 2), ("conv", 2)]
    assert after == []


def test_depth_and_total_stride_of_any_spec():
    spec = Spec(stage_units=(1, 2), stage_filters=(8, 16), unit="bottleneck", stem="imagenet")
    assert (spec.depth, spec.total_stride) == (11, 8)


@pytest.mark.parametrize("choices", [{"unit": "one_layer"}, {"skip": "exclusive_gating", "stochastic_depth": 0.5}, V2])
def test_python_may_recurse_through_every_layer_of_a_network(monkeypatch, choices):
    """Keras needs a frame per layer, in addition to the 1,000 that Python allows."""
    limits = []
    monkeypatch.setattr("sys.getrecursionlimit", lambda: 1000)
    monkeypatch.setattr("sys.setrecursionlimit", limits.append)
    model = keras_resnet.CifarResNet(20, **choices)
    assert min(limits) >= 1000 + len(model.layers)


def test_importing_the_package_uses_up_no_name_that_keras_gives_to_models():
    """A user's first model is called "functional", whether or not this package was imported before it was made."""

    def number_of_next_model():
        image = keras.Input((1,))
        return int(keras.Model(image, image).name.partition("_")[2] or 0)

    before = number_of_next_model()
    module = importlib.util.find_spec("keras_resnet.models.fast_layers")
    module.loader.exec_module(importlib.util.module_from_spec(module))
    assert number_of_next_model() == before + 1
