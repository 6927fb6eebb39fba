"""Selection of images: at random, to hold out for validation or to train on, or evenly spaced, to measure on."""

from __future__ import annotations

import numpy as np

from .errors import DataError


def evenly_spaced(count: int, total: int) -> np.ndarray:
    """Returns the indices of `count` of `total` images, from the first to the last; all of them if there are fewer."""
    return np.linspace(0, total - 1, min(count, total)).round().astype(int)


def fixed_subset(count: int, total: int, name: str) -> np.ndarray:
    """Draws `count` of `total` images with a fixed seed, so that smaller subsets are contained in larger ones.

    Args:
        count: the number of images to draw; at least 1.
        total: the number of training images.
        name: the data set's name, for error messages.

    Returns:
        The sorted indices of the drawn images.

    Raises:
        DataError: `count` is out of range.
    """
    if not 0 < count <= total:
        raise DataError(
            f"`count` must be from 1 to {total}, since {name} has {total} training images. Received: {count}"
        )
    return np.sort(np.random.default_rng(0).permutation(total)[:count])


def hold_out(count: int, total: int, seed: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Draws `count` of `total` images to hold out.

    Args:
        count: the number of images to hold out; at least 1 and less than `total`.
        total: the number of training images.
        seed: determines which images are held out.
        name: the data set's name, for error messages.

    Returns:
        The sorted indices of the images that are held out, and those of the images that remain for training.

    Raises:
        DataError: `count` is out of range.
    """
    if not 0 < count < total:
        raise DataError(
            f"`count` must be from 1 to {total - 1}, since {name} has {total} training images. Received: {count}"
        )
    order = np.random.default_rng(seed).permutation(total)
    return np.sort(order[:count]), np.sort(order[count:])
