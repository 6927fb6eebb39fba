"""Normalisation as a layer of the model, so that a saved model takes raw images of 0 to 255."""

from __future__ import annotations

from typing import TypeVar

import keras
import numpy as np

Images = TypeVar("Images")


def preprocess_input(x: Images, data_format: str | None = None) -> Images:
    """Returns images unchanged, so that programs written for keras.applications only need to change their imports.

    The functions of this name in keras.applications convert images of 0 to 255 to what a network's weights were trained
    on. The networks of this package do so themselves: those with weights whose normalisation is known begin with it as
    a layer, unless they are built with `include_preprocessing=False`. Images for networks that are built so must be
    normalised by other means than this function.

    Args:
        x: images of 0 to 255, an array or a tensor.
        data_format: ignored.
    """
    return x


def normalize(
    images: keras.KerasTensor,
    mean: np.ndarray,
    deviation: np.ndarray | None = None,
    data_format: str = "channels_last",
) -> keras.KerasTensor:
    """Subtracts the training set's mean, which is the papers' only normalisation (He et al. 2015, sections 3.4, 4.2).

    Args:
        images: raw images, (batch, height, width, channels), or with the channels first if
            `data_format` says so.
        mean: one value per pixel and channel, in the shape of an image ("per-pixel mean"), or one per channel, for
            images of any size. It becomes a variable of the layer, so it is saved with the model.
        deviation: divisor of the difference, in the shape of `mean` or one value per channel; None for none, as in the
            papers.
        data_format: "channels_last" or "channels_first".

    Returns:
        The output of the layer "normalization". It is float32 whatever the dtype policy, since half
        precision is too coarse for pixel values minus a mean.

    Raises:
        ValueError: the shape of the mean or of the deviation does not fit the images.
    """
    shape = tuple(images.shape[1:])
    channels = -1 if data_format == "channels_last" else 1
    for name, value in (("mean", mean), ("deviation", deviation)):
        if value is not None and np.shape(value) not in (shape, (images.shape[channels],)):
            raise ValueError(
                f"`{name}` must have shape {shape} or {(images.shape[channels],)}. Received: {np.shape(value)}"
            )
    axis = (1, 2, 3) if np.ndim(mean) == 3 else channels
    layer = keras.layers.Normalization(axis=axis, name="normalization", dtype="float32")
    layer.build(images.shape)
    layer.adapt_mean.assign(mean)
    if deviation is not None:  # otherwise, the layer's variance remains 1
        if np.ndim(deviation) < np.ndim(mean):
            deviation = np.reshape(deviation, (1, 1, -1) if channels == -1 else (-1, 1, 1))
        layer.adapt_variance.assign(np.broadcast_to(np.square(deviation), np.shape(mean)))
    layer.finalize_state()
    return layer(images)
