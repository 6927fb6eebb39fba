"""The images that networks are looked into with."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from ..data import Dataset, ImageStream
from ..evaluation.evaluate import View, crop_of
from ..evaluation.views import shapes

BATCH = 100


def batches_for(
    model: keras.Model, info: Mapping[str, Any], data: Dataset | ImageStream, images: int, *, verbose: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The first test images of a data set, as a network was tested on them.

    Args:
        model: takes raw images.
        info: what its file says of it.
        data: the data set.
        images: how many, at most.
        verbose: 1 for a progress bar.

    Yields:
        Images, labels and weights; those behind the last image have weight 0.

    Raises:
        ValueError: images that the network does not take.
    """
    view = {}
    if isinstance(data, ImageStream):
        view = dict(zip(("size", "resize"), crop_of(model, info.get("view", {}), View()), strict=True))
    shape = shapes(model)[0]
    there = data.image_shape(view.get("size"))
    if any(want not in (None, have) for want, have in zip(shape, there, strict=True)):
        raise ValueError(f"{model.name!r} takes images of {shape}. Received: {there}")
    batches = data.test_batches(batch_size=min(BATCH, images), **view)
    count = min(len(batches), math.ceil(images / min(BATCH, images)))
    bar = tqdm(batches, "Looking", count, leave=False, disable=not verbose)
    for number, (seen, labels, weights) in enumerate(bar):
        left = images - number * len(seen)
        if left <= 0:
            break
        weights = weights.copy()
        weights[left:] = 0
        yield seen, labels, weights
