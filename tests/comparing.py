"""How tests compare tensors and networks."""

from __future__ import annotations

import keras
import numpy as np


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
