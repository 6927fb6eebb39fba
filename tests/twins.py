"""Comparisons of Keras's layers, and networks, with the fast layers that replace them."""

from __future__ import annotations

import re

import keras
import numpy as np
from keras import layers

from comparing import QUICKER_EAGERLY, alike, numpy
from keras_resnet import ResNet
from keras_resnet.models.fast_layers import use_fast_layers
from keras_resnet.models.rows import DOWNSAMPLES, ORDERS, SHORTCUTS, SKIPS, STEMS, UNITS

RNG = np.random.default_rng(0)

# Choices for `twin_networks`, in which every row of every table occurs
EVERY_CHOICE = [
    *({"unit": unit} for unit in UNITS),
    *({"order": order, "shortcut": "C"} for order in ORDERS),
    *({"skip": skip, "skip_dropout": 1e-9} if skip == "dropout" else {"skip": skip} for skip in SKIPS),
    *({"shortcut": shortcut} for shortcut in SHORTCUTS),
    *({"stem": stem, "order": "full_preactivation"} for stem in STEMS),
    *({"stem": stem, "order": "original"} for stem, row in STEMS.items() if row.activated),
    *({"downsample": downsample, "shortcut": "A"} for downsample in DOWNSAMPLES),
    {"unit": "bottleneck", "stride_on": "3x3"},
]


def twins(make, shape, dtype="float32"):
    """Returns a model of Keras's layers and one of the fast layers, with the same weights.

    Args:
        make: a function from a dtype to layers; or several, by name, which become independent branches of one model,
            since most of the time is spent in tracing and compiling.
        shape: shape of an image.
        dtype: dtype of the layers.
    """
    branches = make if isinstance(make, dict) else {"": make}
    models = []
    for prepare in (lambda model: model, use_fast_layers):
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
    """Asserts that models have equal outputs in training and in inference, and equal variables after a step."""
    names = models[0].output_names
    for training in (True, False):
        outputs = [keras.tree.flatten(model(images, training=training)) for model in models]
        for name, expected, actual in zip(names, *outputs, strict=True):
            assert actual.dtype == expected.dtype, name
            alike(actual, expected, tolerance, name)
    targets = [RNG.normal(size=output.shape).astype("float32") for output in outputs[0]]
    for model in models:
        model.compile(keras.optimizers.SGD(0.1), "mse")
        model.train_on_batch(images, targets if len(targets) > 1 else targets[0])
    for expected, actual in zip(models[0].variables, models[1].variables, strict=True):
        alike(actual, expected, tolerance, expected.path)


def convolutions(chosen, **choices):
    """Returns branches for `twins`, one for each kernel, strides and padding."""
    return {str(each): lambda dtype, each=each: [layers.Conv2D(6, *each, **choices)] for each in chosen}


def images(model, batch=3):
    """Returns random images for a network."""
    return np.random.default_rng(0).normal(size=(batch, *model.input_shape[1:])).astype("float32")


def twin_networks(dtype="float32", **choices):
    """Returns a network with fast layers and the same of Keras's, wide enough for kernels of `test_fast_layers`."""
    keras.utils.set_random_seed(0)
    size = 16 if choices.get("stem", "cifar") == "cifar" else 48
    choices.setdefault("stem", "cifar")
    shape = (3, size, size) if choices.get("data_format") == "channels_first" else (size, size, 3)
    model = ResNet((1, 2), (16, 24), input_shape=shape, classes=5, classifier_activation=None, dtype=dtype, **choices)
    plain = keras.models.clone_model(model)
    rng = np.random.default_rng(1)
    weights = [rng.uniform(0.5, 1.5, weight.shape) if weight.ndim == 1 else weight for weight in model.get_weights()]
    for each in (model, plain):
        each.set_weights(weights)
    return model, plain


def networks_learn_alike(model, plain):
    """Asserts that two networks, of `twin_networks`, change alike in a step of training."""
    x, before = images(model), plain.get_weights()
    for each in (model, plain):
        each.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=QUICKER_EAGERLY)
        each.train_on_batch(x, np.eye(3, 5))
    for old, actual, expected in zip(before, model.weights, plain.weights, strict=True):
        change, expected_change = numpy(actual) - old, numpy(expected) - old
        error = np.linalg.norm(change - expected_change)
        assert error <= 1e-2 * np.linalg.norm(expected_change) + 1e-6, actual.path
