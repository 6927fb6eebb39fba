"""Normalisation as a layer that travels with the model, so that a saved model takes raw images of 0 to 255."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


def subtract_mean(images: Any, mean: np.ndarray) -> Any:
    """Subtracts the training set's mean: the papers' only normalisation (He et al. 2015, section 3.4 and 4.2).

    Args:
        images: a Keras tensor of raw images, (batch, height, width, channels); or with the channels first, for a mean
            by pixel.
        mean: one value a pixel, in the shape of one image ("per-pixel mean"), or one value a channel, which fits images
            of any size. It becomes a variable of the layer, so a saved model keeps it.

    Returns:
        The Keras tensor behind the layer "normalization". It is in float32 whatever the dtype policy, since half
        precision does not hold 255 values and a mean.

    Raises:
        ValueError: a mean that is not of the shape of the images.
    """
    shape = tuple(images.shape[1:])
    if np.shape(mean) not in (shape, shape[-1:]):
        raise ValueError(f"The mean must have the shape {shape} or {shape[-1:]}. Received: {np.shape(mean)}")
    axis = (1, 2, 3) if np.ndim(mean) == 3 else -1
    layer = keras.layers.Normalization(axis=axis, name="normalization", dtype="float32")
    layer.build(images.shape)
    layer.adapt_mean.assign(mean)  # its variance stays one
    layer.finalize_state()
    return layer(images)
