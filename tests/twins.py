"""Keras's layers beside the same as they run here."""

from __future__ import annotations

import re

import keras
import numpy as np
from keras import layers

from comparing import alike
from keras_resnet.models.fast_layers import use_fast_layers

RNG = np.random.default_rng(0)


def twins(make, shape, dtype="float32"):
    """Keras's layers and the same as they run, in models with the same weights.

    Several of them, by name, are branches of one model, which learns all at once and in no other's way: what takes time
    is to trace and to compile.
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


def convolutions(chosen, **choices):
    """A branch for each kernel, strides and padding."""
    return {str(each): lambda dtype, each=each: [layers.Conv2D(6, *each, **choices)] for each in chosen}
