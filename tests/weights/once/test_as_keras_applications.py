"""What networks without weights have in common with keras.applications', on any backend."""

import inspect
import re

import keras
import numpy as np
import pytest

import keras_resnet
from facts import KERAS_APPLICATIONS_TOTALS
from keras_resnet.weights.keras_applications import V1, V2


@pytest.mark.parametrize(("name", "total"), KERAS_APPLICATIONS_TOTALS.items())
def test_its_totals_are_ours_and_its_convolution_biases(name, total):
    theirs = getattr(keras.applications, name)(weights=None)
    assert theirs.count_params() == total
    biases = sum(layer.filters for layer in theirs.layers if isinstance(layer, keras.layers.Conv2D) and layer.use_bias)
    layout = (V2 if name.endswith("V2") else V1)["layout"]
    ours = getattr(keras_resnet, name)(**layout)
    stem_bias = 64 if name.endswith("V2") else 0  # is not folded, since a zero padding follows
    assert ours.count_params() == total - biases + stem_bias


@pytest.mark.parametrize("name", ["ResNet50", "ResNet101", "ResNet152", "ResNet50V2", "ResNet101V2", "ResNet152V2"])
def test_the_arguments_are_its_arguments_in_its_order(name):
    theirs = inspect.signature(getattr(keras.applications, name)).parameters
    ours = inspect.signature(getattr(keras_resnet, name)).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    for argument in theirs:
        if argument != "weights":  # the only difference
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
def test_inputs_outputs_and_names_are_those_of_keras_applications(arguments):
    theirs = keras.applications.ResNet50(weights=None, **arguments)
    ours = keras_resnet.ResNet50(weights=None, **arguments)
    assert (ours.input_shape, ours.output_shape, ours.name) == (theirs.input_shape, theirs.output_shape, theirs.name)


def test_a_program_for_keras_applications_works_with_changed_imports():
    """The example of its documentation, with random weights: raw images go in unchanged, triples come out."""
    model = keras_resnet.ResNet18(width=0.125)
    image = np.random.default_rng(0).uniform(0, 255, (1, 224, 224, 3)).astype("float32")
    x = keras_resnet.preprocess_input(image)
    assert x is image
    ((first, *others),) = keras_resnet.decode_predictions(model.predict(x, verbose=0), top=3)
    assert len(others) == 2
    identifier, name, score = first
    assert re.fullmatch(r"n\d{8}", identifier) and name and score >= others[0][2]


def test_preprocess_input_and_decode_predictions_have_the_arguments_of_keras_applications():
    for function in ("preprocess_input", "decode_predictions"):
        theirs = list(inspect.signature(getattr(keras.applications.resnet, function)).parameters)
        assert list(inspect.signature(getattr(keras_resnet, function)).parameters)[: len(theirs)] == theirs
