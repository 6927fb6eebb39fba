"""The test of one view: CIFAR's images as they are, the centres of photographs."""

from __future__ import annotations

import time
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from ..data import ArrayTestBatches, StreamTestBatches

Batches = ArrayTestBatches | StreamTestBatches


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


def evaluate(model: keras.Model, batches: Batches, *, verbose: int = 0) -> dict[str, Any]:
    """Tests a network on one view of every image.

    Args:
        model: takes raw images, gives a probability a class (or logits: only their order counts).
        batches: a data set's `test_batches`: images (n, height, width, channels) of 0 to 255, integer labels (n,) and
            weights (n,), of which 0 stands for an image that does not count.
        verbose: 1 for a progress bar.

    Returns:
        "images", "wrong" (top-1), "error" and "top5_error" in percent, "seconds".

    Raises:
        ValueError: images or labels that do not fit the network.
    """
    shape, classes = shapes(model)
    ranks = []
    begun = time.perf_counter()
    for images, labels, weights in tqdm(batches, "Testing", len(batches), leave=False, disable=not verbose):
        if any(want not in (None, have) for want, have in zip(shape, images.shape[1:], strict=True)):
            raise ValueError(f"{model.name!r} takes images of {shape}. Received: {images.shape[1:]}")
        if labels.max() >= classes:
            raise ValueError(f"{model.name!r} knows {classes} classes; the labels go up to {labels.max()}.")
        ranks.append(_ranks(np.asarray(model.predict_on_batch(images)), labels)[weights > 0])
    rank = np.concatenate(ranks)
    return {
        "images": len(rank),
        "wrong": int((rank >= 1).sum()),
        "error": round(100 * float((rank >= 1).mean()), 4),
        "top5_error": round(100 * float((rank >= 5).mean()), 4),
        "seconds": round(time.perf_counter() - begun, 2),
    }


def _ranks(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The place of the right class, from 0. A tie, or a NaN, is not a hit: it must stand alone or come first."""
    right = scores[np.arange(len(labels)), labels][:, None]
    better = (scores > right).sum(axis=1)  # classes placed before the right one
    tied = (scores == right).sum(axis=1) - 1
    return np.where(np.isfinite(right[:, 0]), better + tied, scores.shape[1])
