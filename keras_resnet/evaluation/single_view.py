"""The papers' test on CIFAR: every image once, as it is."""

from __future__ import annotations

import time
from typing import Any

import keras
import numpy as np


def shapes(model: keras.Model) -> tuple[tuple[int | None, int | None, int], int]:
    """The (height, width, channels) of the images that a network takes, and its number of classes.

    Raises:
        ValueError: a model that does not take images or does not tell classes.
    """
    one_each = len(model.inputs) == len(model.outputs) == 1
    if not one_each or len(model.inputs[0].shape) != 4 or len(model.outputs[0].shape) != 2:
        takes, gives = ([tuple(tensor.shape) for tensor in tensors] for tensors in (model.inputs, model.outputs))
        raise ValueError(
            f"{model.name!r} must take images as (batch, height, width, channels) and give (batch, classes). "
            f"Received: a model from {', '.join(map(str, takes))} to {', '.join(map(str, gives))}"
        )
    return tuple(model.inputs[0].shape[1:]), model.outputs[0].shape[-1]


def evaluate(
    model: keras.Model, images: np.ndarray, labels: np.ndarray, *, batch_size: int = 500, verbose: int = 0
) -> dict[str, Any]:
    """Tests a network on images of its input size.

    Args:
        model: takes raw images, gives a probability a class (or logits: only their order counts).
        images: (n, height, width, channels), 0 to 255.
        labels: (n,) integers.
        batch_size: images at a time; the last batch may be smaller, and every image counts once.
        verbose: 1 for Keras's progress bar.

    Returns:
        "images", "wrong" (top-1), "error" and "top5_error" in percent, "seconds".

    Raises:
        ValueError: images or labels that do not fit the network.
    """
    shape, classes = shapes(model)
    if any(want not in (None, have) for want, have in zip(shape, images.shape[1:], strict=True)):
        raise ValueError(f"{model.name!r} takes images of {shape}. Received: {images.shape[1:]}")
    if labels.max() >= classes:
        raise ValueError(f"{model.name!r} knows {classes} classes; the labels go up to {labels.max()}.")
    begun = time.perf_counter()
    scores = np.asarray(model.predict(images, batch_size=batch_size, verbose=verbose))
    seconds = time.perf_counter() - begun
    right = scores[np.arange(len(labels)), labels][:, None]
    better = (scores > right).sum(axis=1)  # classes placed before the right one
    # A tie, or a NaN, is not a hit: the right class must stand alone or come first.
    tied = (scores == right).sum(axis=1) - 1
    rank = np.where(np.isfinite(right[:, 0]), better + tied, classes)
    return {
        "images": len(labels),
        "wrong": int((rank >= 1).sum()),
        "error": round(100 * float((rank >= 1).mean()), 4),
        "top5_error": round(100 * float((rank >= 5).mean()), 4),
        "seconds": round(seconds, 2),
    }
