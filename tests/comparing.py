"""Comparisons of tensors and of networks, for tests."""

from __future__ import annotations

import keras
import numpy as np

from keras_resnet import saving

# Whether a single call takes less time eagerly: TensorFlow would trace it. JAX would compile each operation for each
# shape, which takes longer than compiling the call, and on Torch nothing is compiled.
QUICKER_EAGERLY = keras.backend.backend() == "tensorflow"


def numpy(tensor):
    """Converts a tensor or variable of any backend and float dtype to a float64 array."""
    return np.asarray(keras.ops.convert_to_numpy(tensor)).astype("float64")


def call(model, images):
    """Calls a model; returns its output as an array or a structure of arrays, in their own dtypes."""
    return keras.tree.map_structure(keras.ops.convert_to_numpy, model(images))


def alike(actual, expected, tolerance=1e-4, name=""):
    """Asserts that tensors differ nowhere by more than `tolerance` times the largest expected absolute value."""
    expected = numpy(expected)
    atol = tolerance * np.abs(expected).max()
    np.testing.assert_allclose(numpy(actual), expected, atol=atol, rtol=0, err_msg=name)


def same(one, other):
    """Returns whether two networks have bitwise equal weights."""
    return all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


def values(model):
    """Returns a network's variables as arrays, by layer and name."""
    return {
        f"{layer.name}/{variable.name}": keras.ops.convert_to_numpy(variable)
        for layer in model.layers
        for variable in layer.weights
    }


def changed(before, after):
    """Returns the parts of a network, such as "stem" and "stage1", whose `values` are not bitwise equal."""
    return _parts(name for name in before if not np.array_equal(before[name], after[name]))


def network(folder):
    """Returns the `values` of the network in a file or a run's folder."""
    return values(saving.load(folder)[0])


def kept(folder, before):
    """Returns the parts of a network whose values are bitwise equal in two files or run folders."""
    one, other = network(folder), network(before)
    return _parts(one) - changed(one, other)


def _parts(names):
    return {name.split("_")[0].partition("/")[0] for name in names}
