"""Which training images are held out to choose by, or left out to save time."""

from __future__ import annotations

import numpy as np

from .errors import DataError


def taken(count: int, total: int, name: str) -> np.ndarray:
    """Draws a random `count` of `total` images, always the same: fewer of them are a part of more.

    Returns:
        Their numbers, in order.

    Raises:
        DataError: `count` is out of range.
    """
    if not 0 < count <= total:
        raise DataError(
            f"`count` must be from 1 to {total}, since {name} has {total} training images. Received: {count}"
        )
    return np.sort(np.random.default_rng(0).permutation(total)[:count])


def hold_out(count: int, total: int, seed: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Draws a random `count` of `total` images.

    Args:
        count: how many to hold out; at least 1 and fewer than there are.
        total: how many training images there are.
        seed: the same seed holds out the same images.
        name: what messages call the data set.

    Returns:
        The numbers of the images that are held out, and of those that are left to train on, each in order.

    Raises:
        DataError: `count` is out of range.
    """
    if not 0 < count < total:
        raise DataError(
            f"`count` must be from 1 to {total - 1}, since {name} has {total} training images. Received: {count}"
        )
    order = np.random.default_rng(seed).permutation(total)
    return np.sort(order[:count]), np.sort(order[count:])
