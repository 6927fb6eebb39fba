"""What the analyses look with in their tests."""

from __future__ import annotations

import keras
import numpy as np


def batches(count=8, size=8, seed=0, brightest=255):
    """Images, labels and weights of 1."""
    rng = np.random.default_rng(seed)
    images = rng.uniform(0, brightest, (count, 32, 32, 3)).astype("float32")
    labels = rng.integers(0, 10, count)
    cuts = [slice(begin, min(begin + size, count)) for begin in range(0, count, size)]
    return [(images[cut], labels[cut], np.ones(cut.stop - cut.start)) for cut in cuts]


def stranger():
    """A network of someone else."""
    return keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(10, name="dense")])


def output(model, layer, images):
    """What a layer puts out."""
    return np.asarray(keras.Model(model.input, model.get_layer(layer).output).predict(images, verbose=0))
