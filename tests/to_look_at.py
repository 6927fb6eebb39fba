"""Batches, networks and helpers for the tests of the analyses."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest

from keras_resnet import backend
from keras_resnet.analysis.inputs import summed_loss
from keras_resnet.analysis.paths import path_gradient
from keras_resnet.analysis.responses import responses
from keras_resnet.models.taps import to_logits


def batches(count=8, size=8, seed=0, brightest=255):
    """Images, labels and weights of 1."""
    rng = np.random.default_rng(seed)
    images = rng.uniform(0, brightest, (count, 32, 32, 3)).astype("float32")
    labels = rng.integers(0, 10, count)
    cuts = [slice(begin, min(begin + size, count)) for begin in range(0, count, size)]
    return [(images[cut], labels[cut], np.ones(cut.stop - cut.start)) for cut in cuts]


def stranger():
    """Returns a network that is not of this package."""
    return keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(10, name="dense")])


def output(model, layer, images):
    """Returns the output of a layer."""
    return np.asarray(keras.Model(model.input, model.get_layer(layer).output).predict(images, verbose=0))


def norm(x):
    """Returns the Euclidean norm of each image."""
    return np.linalg.norm(x.reshape(len(x), -1).astype("float64"), axis=1)


def pictures(count=10):
    return np.random.default_rng(0).uniform(0, 255, (count, 32, 32, 3)).astype("float32")


def check_responses(model, residual="bn1 bn2"):
    """Compares responses with NumPy's deviations and means of the outputs of single layers.

    Args:
        model: a network with one unit per stage.
        residual: the layers of a unit that give the responses of its convolutions, as its order tells.
    """
    images = pictures()
    rows = responses(model, [(images[:6],), (images[6:],)])
    units = [f"stage{stage}_unit1_{layer}" for stage in (1, 2, 3) for layer in residual.split()]
    assert [row["layer"] for row in rows] == ["stem_bn", *units]
    for row in rows:
        values = output(model, row["layer"], images)
        assert row["deviation"] == pytest.approx(float(values.std()), rel=1e-3)
        assert row["mean"] == pytest.approx(float(values.mean()), abs=1e-3 * float(values.std()))


def check_that_paths_add_up(model):
    """Compares the sum of the gradients of all paths through a network of three units with its gradient."""
    ((images, labels, _),) = batches(3)
    images = images / 255
    one_path = path_gradient(model)
    added = sum(one_path(images, labels, through) for through in itertools.product((0, 1), repeat=3))
    logits = to_logits(model)
    (full,) = backend.gradient(lambda x, labels: summed_loss(logits(x[0]), labels), model.variables)([images], labels)
    assert np.abs(full).max() > 1e-4
    tolerance = 2e-4 if model.get_layer("stem_conv").compute_dtype == "float32" else 0.1
    np.testing.assert_allclose(added, full, atol=tolerance * np.abs(full).max())


def dark(count=40):
    """Returns a batch so dark that networks without normalisation predict many classes for it."""
    (batch,) = batches(count, count, brightest=2)
    return batch


def error(model, images, labels):
    """Returns the top-1 error of a network, in percent."""
    return 100 * float((np.asarray(model.predict(images, verbose=0)).argmax(axis=1) != labels).mean())


def labelled(model, images):
    """Returns the network's own predictions as labels, so that its error is zero and any change of it shows."""
    return np.asarray(model.predict(images, verbose=0)).argmax(axis=1)
