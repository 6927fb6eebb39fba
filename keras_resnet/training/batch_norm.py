"""Batch norm's statistics, estimated anew when the weights no longer change."""

from __future__ import annotations

from collections.abc import Iterable

import keras
import numpy as np
from tqdm import tqdm


def reestimate(model: keras.Model, batches: Iterable[np.ndarray], total: int | None = None) -> None:
    """Replaces every batch norm's moving averages by the mean and variance over many training images.

    As the authors did for the networks they released, whose statistics are averages, not moving averages, over a large
    training batch after the training (notes to their ImageNet models, github.com/KaimingHe/deep-residual-networks).
    The moving averages of training follow weights that still change, and forget all but the last few batches.

    The batches go through the network as in training, each normalised by its own statistics; so dropout and
    stochastic depth are at work too.

    Args:
        model: any model with batch norm; its weights stay as they are.
        batches: images as the model takes them, in batches of one size.
        total: how many batches these are, for the progress bar.

    Raises:
        ValueError: there are no batches.
    """
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in layers]
    sums = [(np.zeros(layer.moving_mean.shape), np.zeros(layer.moving_mean.shape)) for layer in layers]
    count = 0
    try:
        for layer in layers:
            layer.momentum = 0.0  # so that the moving averages are the statistics of the last batch
        for images in tqdm(batches, "Estimating batch norm's statistics", total, delay=1, leave=False, disable=None):
            model(images, training=True)
            count += 1
            for layer, (means, squares) in zip(layers, sums, strict=True):
                mean = keras.ops.convert_to_numpy(layer.moving_mean).astype("float64")
                means += mean
                squares += keras.ops.convert_to_numpy(layer.moving_variance) + mean**2
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    if not count:
        raise ValueError("There are no images to estimate batch norm's statistics over.")
    for layer, (means, squares) in zip(layers, sums, strict=True):
        layer.moving_mean.assign((means / count).astype("float32"))
        layer.moving_variance.assign((squares / count - (means / count) ** 2).astype("float32"))
