"""How tests compare tensors and networks."""

from __future__ import annotations

import keras
import numpy as np

from keras_resnet import saving


def numpy(tensor):
    """A tensor or variable of any backend and float type as an array of float64."""
    return np.asarray(keras.ops.convert_to_numpy(tensor)).astype("float64")


def call(model, images):
    """What a model answers when it is called, an array or a dict of arrays, each of its own type."""
    return keras.tree.map_structure(keras.ops.convert_to_numpy, model(images))


def alike(found, expected, tolerance=1e-4, name=""):
    """Asserts that tensors differ nowhere by more than a share of the largest value that is expected."""
    expected = numpy(expected)
    atol = tolerance * np.abs(expected).max()
    np.testing.assert_allclose(numpy(found), expected, atol=atol, rtol=0, err_msg=name)


def same(one, other):
    """Whether two networks have the same weights, to the last bit."""
    return all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


def values(model):
    """A network's variables as arrays, by layer and name."""
    return {
        f"{layer.name}/{variable.name}": keras.ops.convert_to_numpy(variable)
        for layer in model.layers
        for variable in layer.weights
    }


def changed(before, after):
    """The parts of a network, as "stem" and "stage1", of which `values` are no longer the same to the last bit."""
    return _parts(name for name in before if not np.array_equal(before[name], after[name]))


def network(folder):
    """The values of the network in a file or a run's folder."""
    return values(saving.load(folder)[0])


def kept(folder, before):
    """The parts that two files or run folders have alike, to the last bit."""
    one, other = network(folder), network(before)
    return _parts(one) - changed(one, other)


def _parts(names):
    return {name.split("_")[0].partition("/")[0] for name in names}
