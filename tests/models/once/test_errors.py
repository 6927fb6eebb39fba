"""The message for a wrong argument names it and the accepted values."""

import inspect
import pickle
import re
import typing
from functools import partial

import numpy as np
import pytest

import keras_resnet
from keras_resnet import Spec
from keras_resnet.models.architectures import Architecture
from keras_resnet.models.catalog import ARCHITECTURES, find, of_depth
from keras_resnet.models.spec import STAGES, NetworkChoices, ResNetChoices


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"unit": "fire"}, r"`unit` must be one of 'one_layer', 'basic', 'bottleneck'. Received: 'fire'"),
        ({"order": "v3"}, r"`order` must be one of 'original'.*Received: 'v3'"),
        ({"shortcut": "D"}, r"`shortcut` must be one of 'A', 'B', 'C', None. Received: 'D'"),
        ({"skip": "highway"}, r"`skip` must be one of 'identity'.*Received: 'highway'"),
        ({"stem": "mnist"}, r"`stem` must be one of 'imagenet', 'cifar', 'unactivated', 'bare'. Received: 'mnist'"),
        ({"downsample": "mean"}, r"`downsample` must be one of 'stride', 'max_pool', 'last_unit'. Received: 'mean'"),
        ({"stem": "unactivated"}, r"`stem='unactivated'` needs an `order`.*Received: order='original'"),
        ({"stride_on": "5x5"}, r"`stride_on` must be one of '1x1', '3x3'. Received: '5x5'"),
        ({"width": 0}, r"`width` must be a number above 0. Received: 0"),
        ({"width": float("inf")}, r"`width` must be a number above 0. Received: inf"),
        ({"width": float("nan")}, r"`width` must be a number above 0. Received: nan"),
        (
            {"width": 0.03, "shortcut": "B"},
            r"`width` must leave every stage at least one filter of \(16, 32, 64\). Received: 0.03",
        ),
        ({"width": "2"}, r"`width` must be a number. Received: '2'"),
        ({"bn_momentum": None}, r"`bn_momentum` must be a number. Received: None"),
        ({"skip": "exclusive_gating", "gate_bias": "x"}, r"`gate_bias` must be a number or null. Received: 'x'"),
        ({"shortcut": ["B"]}, r"`shortcut` must be a string or null. Received: \['B'\]"),
        ({"input_tensor": np.zeros((1, 32, 32, 3))}, r"`input_tensor` must be a Keras tensor.*Received: ndarray$"),
        ({"width": 0.5}, r"stage1_unit1 would go from 16 to 8. Use `shortcut='B'`.*Received: width=0.5"),
        ({"stochastic_depth": 1.0}, r"`stochastic_depth` must be at least 0 and below 1. Received: 1.0"),
        ({"shortcut": None, "stochastic_depth": 0.2}, r"plain network .* Received: 0.2"),
        ({"shortcut": None, "zero_init_residual": True}, r"plain network .* `zero_init_residual` must be False"),
        ({"shortcut": None, "skip": "dropout"}, r"plain network has no shortcuts. Received: shortcut=None"),
        ({"shortcut": "C", "skip": "conv"}, r"option C has projections in all units"),
        ({"gate_bias": -6.0}, r"`gate_bias` belongs to skip 'exclusive_gating' and 'shortcut_only_gating'"),
        ({"skip": "dropout", "shortcut_scale": 0.5}, r"`shortcut_scale` belongs to skip 'constant_scaling'"),
        ({"order": "relu_before_addition", "zero_init_residual": True}, r"disable every unit permanently"),
        ({"pooling": "sum"}, r"`pooling` must be None, 'avg' or 'max'. Received: 'sum'"),
        ({"include_top": "imagenet"}, r"`include_top` must be True or False. Received: 'imagenet'"),
        ({"data_format": "Channels_Last"}, r"`data_format` must be 'channels_last', .* Received: 'Channels_Last'"),
        ({"classes": 0}, r"`classes` must be a positive integer. Received: 0"),
        ({"input_shape": (32, 32)}, r"`input_shape` must have three dimensions.*Received: \(32, 32\)"),
        ({"input_shape": 32}, r"`input_shape` must have three dimensions, \(height, width, channels\). Received: 32"),
        ({"input_shape": (32.0, 32, 3)}, r"`input_shape` must hold integers or None.*Received: \(32.0, 32, 3\)"),
        ({"input_shape": (3, 32, 32)}, r"at least 4x4.*Received: input_shape=\(3, 32, 32\), as \(height, width, chan"),
        ({"input_shape": (32, 32, None)}, r"`input_shape` must specify the number of channels"),
    ],
)
def test_a_choice_that_does_not_exist_or_contradicts_another(choices, message):
    with pytest.raises(ValueError, match=message):
        keras_resnet.ResNet20(**choices)


@pytest.mark.parametrize("stages", [(), (0, 1), (1.5,), "3", 3])
def test_stages_must_be_positive_integers(stages):
    with pytest.raises(ValueError, match="`stage_units` must"):
        Spec(stage_units=stages, stage_filters=(16,))


def test_units_and_filters_must_name_the_same_stages():
    with pytest.raises(ValueError, match=r"Received: \(1, 1\) and \(16,\)"):
        Spec(stage_units=(1, 1), stage_filters=(16,))


def test_numbers_of_numpy_are_numbers():
    assert keras_resnet.CifarResNet(np.int64(8), classes=np.int32(3)).output_shape == (None, 3)
    assert Spec(stage_units=np.array([1, 2]), stage_filters=(np.int64(16), 32)).stage_filters == (16, 32)
    with pytest.raises(ValueError, match=r"`stage_units` must be a tuple of positive integers.*Received: 3"):
        keras_resnet.ResNet(3, 64)


def test_an_unknown_keyword_is_a_type_error_as_in_any_function():
    with pytest.raises(TypeError, match=r"^A network got an unexpected keyword argument 'colour'$"):
        keras_resnet.ResNet20(colour="red")
    of_depth_20, of_stages = partial(keras_resnet.CifarResNet, 20), partial(keras_resnet.ResNet, (1,), (8,))
    for build in (keras_resnet.ResNet20, of_depth_20, of_stages):
        with pytest.raises(TypeError, match=r"unexpected keyword argument 'clases'; did you mean classes\?$"):
            build(clases=3)
        with pytest.raises(TypeError, match=r"unexpected keyword argument 'short_cut'; did you mean shortcut\?$"):
            build(short_cut="A")


@pytest.mark.parametrize(
    ("choices", "ours"),
    [
        ({"pretrained": True}, 'weights="imagenet"'),
        ({"in_chans": 1}, "input_shape=(height, width, channels)"),
        ({"global_pool": "avg"}, "pooling"),
        ({"features_only": True}, "keras_resnet.features(model)"),
        ({"drop_path_rate": 0.1}, "stochastic_depth"),
    ],
)
def test_an_argument_of_torchvision_or_timm_is_refused_with_that_of_this_package(choices, ours):
    with pytest.raises(TypeError, match=f"'{next(iter(choices))}'; did you mean {re.escape(ours)}\\?$"):
        keras_resnet.ResNet50(**choices)


@pytest.mark.parametrize(
    "call",
    [
        keras_resnet.taps,
        keras_resnet.features,
        keras_resnet.dense_logits,
        keras_resnet.freeze,
        keras_resnet.unfreeze,
        keras_resnet.use_fast_layers,
        partial(keras_resnet.grad_cam, images=np.zeros((1, 32, 32, 3))),
    ],
)
def test_the_path_of_a_model_is_not_the_model(call):
    with pytest.raises(
        ValueError, match=r"^`model` must be a Keras model, such as `keras_.*load_model.*Received: str$"
    ):
        call("runs/cifar10-resnet56")


@pytest.mark.parametrize("call", [keras_resnet.load_model, partial(keras_resnet.export, out="served")])
@pytest.mark.parametrize("given", [3, None, b"a.keras"])
def test_a_model_file_is_given_by_its_path(tmp_path, monkeypatch, call, given):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=rf"^A model file must be given by its path.*: {type(given).__name__}$"):
        call(given)


def test_named_networks_take_the_arguments_of_the_builder_of_all_networks():
    """All but the stages, which the name determines."""
    expected = list(inspect.signature(keras_resnet.ResNet).parameters)[2:]
    for network in ARCHITECTURES.values():
        assert list(inspect.signature(network).parameters) == expected
    assert list(inspect.signature(Architecture.__call__).parameters)[1:] == expected
    assert list(inspect.signature(keras_resnet.CifarResNet).parameters) == ["depth", *expected]


def test_editors_and_type_checkers_know_every_choice_of_a_network_and_its_type():
    types = typing.get_type_hints(Spec)
    known = {**typing.get_type_hints(NetworkChoices), "stage_units": tuple[int, ...], "stage_filters": tuple[int, ...]}
    assert known == types
    assert typing.get_type_hints(ResNetChoices) == {name: kind for name, kind in types.items() if name not in STAGES}


@pytest.mark.parametrize(
    ("depth", "unit", "message"),
    [
        (23, "basic", r"6n\+2 layers. Received: depth=23; nearest: 20 and 26"),
        (100, "bottleneck", r"9n\+2 layers. Received: depth=100; nearest: 92 and 101"),
        (4, "one_layer", r"3n\+2 layers. Received: depth=4; nearest: 5"),
        (2, "basic", r"nearest: 8"),
        (-40, "basic", r"nearest: 8"),
        (20.5, "basic", r"nearest: 8"),
    ],
)
def test_the_message_for_an_invalid_depth_names_the_nearest_valid_ones(depth, unit, message):
    with pytest.raises(ValueError, match=message):
        keras_resnet.CifarResNet(depth, unit=unit)


def test_networks_are_found_by_name_in_any_case_and_at_any_valid_depth():
    assert find("ResNet50V2") is keras_resnet.ResNet50V2
    assert find("PLAINNET38").spec.depth == 38
    assert find("plainnet38").spec.shortcut is None
    assert find("resnet38v2").spec.order == "full_preactivation"
    assert find("CIFAR-resnet164v2") is keras_resnet.ResNet164V2
    with pytest.raises(ValueError, match=r"depth=23; nearest: 20 and 26"):
        find("resnet23")
    with pytest.raises(ValueError, match=r"Unknown network 'reznet50'\..* lists all; did you mean resnet50"):
        find("reznet50")
    with pytest.raises(ValueError, match=r"Unknown network 'vgg'\..* lists all$"):
        find("vgg")


@pytest.mark.parametrize("name", ["resnet50", "resnet200", "resnet152v2"])
def test_a_cifar_network_of_a_depth_that_imagenet_has_too_has_a_prefix(name):
    imagenet, cifar = find(name).spec, find(f"cifar-{name}").spec
    assert (cifar.depth, cifar.stage_filters, cifar.stem, cifar.unit) == (
        imagenet.depth,
        (16, 32, 64),
        "cifar",
        "basic",
    )
    assert (cifar.order, cifar.shortcut) == (imagenet.order, "A")
    assert of_depth("resnet20", cifar.depth) == f"cifar-resnet{cifar.depth}"
    assert of_depth("resnet20v2", 26) == "resnet26v2"


def test_a_depth_that_basic_units_cannot_have_is_found_for_a_unit_that_can():
    """9n+2 and 3n+2 (2016, section 3.1 and table 3)."""
    assert find("resnet29", "bottleneck").spec.stage_units == (3, 3, 3)
    assert find("resnet29", "one_layer").spec.stage_units == (9, 9, 9)
    assert find("resnet20", "bottleneck") is keras_resnet.ResNet20  # `respec` changes its unit
    with pytest.raises(ValueError, match="nearest: 26 and 32, or 29 with unit='one_layer' or 'bottleneck'"):
        find("resnet29")


def test_another_unit_keeps_the_depth_of_a_cifar_net():
    """He et al. 2016, table 3: ResNet-110 with one-layer units."""
    one_layer = keras_resnet.ResNet110.respec(unit="one_layer")
    assert one_layer.depth == 110
    assert one_layer.stage_units == (36, 36, 36)
    assert keras_resnet.ResNet164.respec(unit="basic").depth == 164


def test_chosen_stages_determine_the_depth_of_a_cifar_net():
    """With bottleneck units, there is no ResNet-8 otherwise."""
    chosen = find("resnet8").respec(unit="bottleneck", stage_units=(1, 2), stage_filters=(8, 16))
    assert (chosen.depth, chosen.stage_units, chosen.stage_filters) == (11, (1, 2), (8, 16))
    assert (chosen.shortcut, chosen.stem) == ("B", "cifar")


def test_a_named_network_is_an_ordinary_function():
    assert pickle.loads(pickle.dumps(keras_resnet.ResNet50)) is keras_resnet.ResNet50
    assert keras_resnet.ResNet50.__name__ == "ResNet50"
    assert "2015, table 1" in keras_resnet.ResNet50.__doc__
    assert "2016" in keras_resnet.ResNet50V2.__doc__
