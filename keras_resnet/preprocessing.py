"""Normalisation as a layer that travels with the model, so that a saved model takes raw images of 0 to 255."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


def preprocess_input(x: Any, data_format: str | None = None) -> Any:
    """Returns images as they are; here so that programs written for keras.applications need to change imports alone.

    The functions of this name in keras.applications bring images of 0 to 255 into the form that a network's weights
    were trained on. The networks of this package do that themselves: those with weights whose normalisation is known
    begin with it as a layer, unless they are built with `include_preprocessing=False`. Whoever builds them so prepares
    images for them in another way than by this function.

    Args:
        x: images of 0 to 255, an array or a tensor.
        data_format: passed over, as there is nothing to do along any axis.
    """
    return x


def normalize(
    images: Any, mean: np.ndarray, deviation: np.ndarray | None = None, data_format: str = "channels_last"
) -> Any:
    """Subtracts the training set's mean, which is the papers' only normalisation (He et al. 2015, sections 3.4, 4.2).

    Args:
        images: a Keras tensor of raw images, (batch, height, width, channels); or with the channels first, as
            `data_format` says.
        mean: one value a pixel, in the shape of one image ("per-pixel mean"), or one value a channel, which fits images
            of any size. It becomes a variable of the layer, so a saved model keeps it.
        deviation: what the difference is divided by, as many values or one a channel; None for nothing, as in the
            papers.
        data_format: "channels_last" or "channels_first".

    Returns:
        The Keras tensor behind the layer "normalization". It is in float32 whatever the dtype policy, since half
        precision does not hold 255 values and a mean.

    Raises:
        ValueError: a mean or a deviation that is not of the shape of the images.
    """
    shape = tuple(images.shape[1:])
    channels = -1 if data_format == "channels_last" else 1
    for name, value in (("mean", mean), ("deviation", deviation)):
        if value is not None and np.shape(value) not in (shape, (images.shape[channels],)):
            raise ValueError(
                f"The {name} must have the shape {shape} or {(images.shape[channels],)}. Received: {np.shape(value)}"
            )
    axis = (1, 2, 3) if np.ndim(mean) == 3 else channels
    layer = keras.layers.Normalization(axis=axis, name="normalization", dtype="float32")
    layer.build(images.shape)
    layer.adapt_mean.assign(mean)
    if deviation is not None:  # else its variance stays one
        if np.ndim(deviation) < np.ndim(mean):
            deviation = np.reshape(deviation, (1, 1, -1) if channels == -1 else (-1, 1, 1))
        layer.adapt_variance.assign(np.broadcast_to(np.square(deviation), np.shape(mean)))
    layer.finalize_state()
    return layer(images)
