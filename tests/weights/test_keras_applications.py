"""Code written for keras.applications works by changing the import."""

import inspect

import keras
import numpy as np
import pytest

import keras_resnet
from facts import KERAS_APPLICATIONS_TOTALS
from keras_resnet.weights.keras_applications import carry_over


def call(model, images):
    return keras.ops.convert_to_numpy(model(images))


@pytest.mark.parametrize("include_top", [True, False])
def test_its_resnet50_with_random_weights_gives_the_same_logits_here(seeded, include_top):
    shape = {"input_shape": (96, 96, 3), "include_top": include_top}
    theirs = seeded(keras.applications.ResNet50(weights=None, classifier_activation=None, **shape))
    ours = keras_resnet.ResNet50(classifier_activation=None, **shape)
    assert carry_over(theirs, ours) == len([layer for layer in ours.layers if layer.weights])
    images = np.random.default_rng(0).standard_normal((2, 96, 96, 3)).astype("float32")
    expected = call(theirs, images)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(call(ours, images), expected, atol=1e-4)


def test_its_totals_are_ours_and_its_convolution_biases():
    for name, total in KERAS_APPLICATIONS_TOTALS.items():
        theirs = getattr(keras.applications, name)(weights=None)
        assert theirs.count_params() == total
        biases = sum(layer.filters for layer in theirs.layers if isinstance(layer, keras.layers.Conv2D))
        assert getattr(keras_resnet, name)().count_params() == total - biases


def test_a_layer_that_the_other_net_does_not_have_is_named():
    theirs = keras.applications.ResNet50(weights=None, input_shape=(32, 32, 3), classes=10)
    with pytest.raises(ValueError, match="no such layer as stage1_unit1_bn3"):
        carry_over(theirs, keras_resnet.ResNet18(input_shape=(32, 32, 3), classes=10))
    with pytest.raises(ValueError, match=r"'resnet152': it has no weights for stage2_unit5_bn1.* and \d+ more"):
        carry_over(theirs, keras_resnet.ResNet152(input_shape=(32, 32, 3), classes=10))


@pytest.mark.parametrize("name", ["ResNet50", "ResNet101", "ResNet152", "ResNet50V2", "ResNet101V2", "ResNet152V2"])
def test_the_arguments_are_its_arguments_in_its_order(name):
    theirs = inspect.signature(getattr(keras.applications, name)).parameters
    ours = inspect.signature(getattr(keras_resnet, name)).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    for argument in theirs:
        if argument != "weights":  # the one difference
            assert ours[argument].default == theirs[argument].default, argument
    assert ours["weights"].default is None


SHAPES = [
    {},
    {"include_top": False},
    {"include_top": False, "pooling": "avg"},
    {"include_top": False, "pooling": "max", "input_shape": (64, 48, 3)},
    {"input_shape": (100, 64, 3), "classes": 7},
    {"include_top": False, "input_shape": (None, None, 5)},
    {"classes": 2, "classifier_activation": "sigmoid", "input_shape": (32, 32, 1), "name": "detector"},
]


@pytest.mark.parametrize("arguments", SHAPES)
def test_inputs_outputs_and_names_are_as_there(arguments):
    theirs = keras.applications.ResNet50(weights=None, **arguments)
    ours = keras_resnet.ResNet50(weights=None, **arguments)
    assert (ours.input_shape, ours.output_shape, ours.name) == (theirs.input_shape, theirs.output_shape, theirs.name)


def test_it_builds_on_a_given_tensor():
    image = keras.Input((64, 64, 3))
    scaled = keras.layers.Rescaling(1 / 255)(image)
    model = keras_resnet.ResNet50(input_tensor=scaled, classes=3)
    assert model.input is image
    assert isinstance(model.layers[1], keras.layers.Rescaling)


@pytest.mark.parametrize(
    "arguments",
    [
        {"weights": "imagenet", "classes": 10},
        {"weights": None, "input_shape": (31, 64, 3)},
        {"weights": None, "input_shape": (64, 64)},
        {"weights": "imagenet", "include_top": False, "input_shape": (64, 64, 1)},
        {"weights": "no-such-file.weights.h5"},
    ],
)
def test_what_is_an_error_there_is_one_here(arguments):
    for network in (keras.applications.ResNet50, keras_resnet.ResNet50):
        with pytest.raises(ValueError, match=r".") as error:
            network(**arguments)
    value = list(arguments.values())[-1]
    assert str(value) in str(error.value)  # the last message is this package's


def test_pretrained_weights_want_a_softmax_or_none(tmp_path):
    keras_resnet.CifarResNet(8).save_weights(tmp_path / "x.weights.h5")
    with pytest.raises(ValueError, match=r"`classifier_activation` must be None or 'softmax'. Received.*'relu'"):
        keras_resnet.CifarResNet(8, weights=tmp_path / "x.weights.h5", classifier_activation="relu")


def test_imagenet_weights_come_from_its_network(monkeypatch, seeded):
    """Where the published file can be downloaded, this is all that `weights="imagenet"` does."""
    published = seeded(keras.applications.ResNet50(weights=None, include_top=False))
    asked = []

    def download(include_top, weights):
        asked.append((include_top, weights))
        return published

    monkeypatch.setattr(keras.applications, "ResNet50", download)
    model = keras_resnet.ResNet50(weights="imagenet", include_top=False)
    assert asked == [(False, "imagenet")]
    images = np.random.default_rng(0).standard_normal((1, 64, 64, 3)).astype("float32")
    np.testing.assert_allclose(call(model, images), call(published, images), atol=1e-4)


@pytest.mark.parametrize("choices", [{"shortcut": "A"}, {"stride_on": "3x3"}, {"order": "full_preactivation"}])
def test_imagenet_weights_are_refused_for_another_network(choices):
    with pytest.raises(ValueError, match="No ImageNet weights are published for 'resnet50' as asked"):
        keras_resnet.ResNet50(weights="imagenet", **choices)
