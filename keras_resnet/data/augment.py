"""The papers' augmentation in NumPy, as a pure function of (seed, epoch, batch index)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike

from .sharding import Shard, check_shard, share_of


def pad_crop_flip(
    images: np.ndarray,
    rng: np.random.Generator,
    *,
    pad: int,
    flip: bool,
    fill: ArrayLike,
) -> np.ndarray:
    """Mirrors images at random, pads them and crops a random window of the original size from each.

    This is the CIFAR augmentation of He et al. 2015, section 4.2, with pad=4. The paper subtracts the mean
    first and then pads with zeros. Here the model takes raw images and subtracts the mean itself, so the border is
    filled with the training set's mean colour, which the model maps to (about) zero.

    Args:
        images: uint8 (N, H, W, C); not modified.
        rng: draws the windows and the mirrored images, independently and uniformly.
        pad: the number of pixels added to each side; 0 disables cropping.
        flip: whether to mirror each image left to right with probability one half.
        fill: the border's colour, C values from 0 to 255, such as `Dataset.mean_color`.

    Returns:
        New images of the same shape and type.
    """
    images = np.ascontiguousarray(images)
    count, height, width, channels = images.shape
    padded = _padded(images, pad, fill)
    mirrored, top, left = _draw_windows(rng, count, pad, flip)
    if flip:
        inner = np.s_[:, pad : pad + height, pad : pad + width]
        np.copyto(_pixels(padded)[inner], _pixels(images)[:, :, ::-1], where=mirrored[:, np.newaxis, np.newaxis])
    # A view of every window of every image: (N, 2 pad + 1, 2 pad + 1, H, W, C).
    windows = sliding_window_view(padded, (height, width, channels), axis=(1, 2, 3))[:, :, :, 0]
    return windows[np.arange(count), top, left]


def cut_out(images: np.ndarray, rng: np.random.Generator, *, size: int, fill: ArrayLike) -> np.ndarray:
    """Erases a random square of every image (cutout, DeVries & Taylor 2017).

    The square's centre may be any pixel of the image, so that parts of the square may fall outside the image.

    Args:
        images: uint8 (N, H, W, C); not modified.
        rng: draws the centres uniformly.
        size: the square's side in pixels; the paper uses 16 for CIFAR-10 and 8 for CIFAR-100.
        fill: the colour of the erased square, C values from 0 to 255.

    Returns:
        New images of the same shape and type.
    """
    count, height, width, _ = images.shape
    centers = _draw_centers(rng, count, height, width)
    lengths = zip(centers, (height, width), strict=True)
    rows, columns = (in_square(np.arange(length), center[:, np.newaxis], size) for center, length in lengths)
    erased = images.copy()
    square = rows[:, :, np.newaxis] & columns[:, np.newaxis, :]
    np.copyto(_pixels(erased), _pixels(_color(fill, images)), where=square)
    return erased


def _padded(images: np.ndarray, pad: int, fill: ArrayLike) -> np.ndarray:
    """Returns all images with a border of `pad` pixels of a colour."""
    count, height, width, channels = images.shape
    padded = np.empty((count, height + 2 * pad, (width + 2 * pad) * channels), images.dtype)
    padded[:] = np.tile(_color(fill, images), width + 2 * pad)  # filling by rows is 16 times as fast as by pixels
    padded = padded.reshape(count, height + 2 * pad, width + 2 * pad, channels)
    padded[:, pad : pad + height, pad : pad + width] = images
    return padded


def _draw_windows(rng: np.random.Generator, count: int, pad: int, flip: bool) -> list[np.ndarray]:
    """Draws for each image whether it is mirrored, and the first row and column of its window in the padded image."""
    mirrored = rng.random(count) < 0.5 if flip else np.zeros(count, bool)
    return [mirrored, *rng.integers(0, 2 * pad + 1, (2, count))]


def _draw_centers(rng: np.random.Generator, count: int, height: int, width: int) -> list[np.ndarray]:
    """Draws the row and the column of the centre of each image's erased square."""
    return [rng.integers(0, height, count), rng.integers(0, width, count)]


def in_square(positions: Any, centers: Any, size: int) -> Any:
    """Returns a mask (N, length) of the positions (length,) that are among the `size` around each centre (N, 1).

    Both are integers, in arrays of NumPy or in tensors.
    """
    offsets = positions - (centers - size // 2)
    return (offsets >= 0) & (offsets < size)


def _color(fill: ArrayLike, images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.broadcast_to(np.asarray(fill, images.dtype), images.shape[-1:]))


def _pixels(images: np.ndarray) -> np.ndarray:
    """Returns a view (..., H, W) with one item per pixel, which NumPy copies 3 times as fast as single bytes."""
    return images.view(f"V{images.shape[-1] * images.itemsize}")[..., 0]


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Returns the number of full batches in `count` images, or 1 if there are fewer images than a batch."""
    return max(1, count // batch_size)


def generator(seed: int, *key: int) -> np.random.Generator:
    """Returns a random generator for a seed and a key, such as (epoch,) or (epoch, index), independent for each key."""
    # A spawn key is needed: as plain entropy, (epoch,) and (epoch, 0) would seed the same generator.
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingBatches:
    """Shuffled, augmented batches for training, each a pure function of (seed, epoch, index).

    A resumed run therefore receives exactly the batches of an uninterrupted one. Images that do not fill a batch at the
    end of an epoch are dropped; they are different ones in every epoch. If there are fewer images than a batch, every
    batch contains all of them.

    Attributes:
        images: uint8 (N, H, W, C), with N at least 1.
        labels: (N,).
        batch_size: the number of images per batch, at least 1, summed over all processes.
        seed: a non-negative integer.
        pad, flip, fill: as for `pad_crop_flip`.
        cutout: the side of the square that `cut_out` erases, in pixels; 0 disables it.
        shard: (process, processes): each process receives its part of every batch; all parts together equal the batch
            of a single process.

    Raises:
        ValueError: there are no images, the number of labels differs from that of the images, or the batch size is
            below 1 or cannot be divided evenly among the processes.
    """

    images: np.ndarray
    labels: np.ndarray
    batch_size: int
    seed: int
    pad: int
    flip: bool
    fill: ArrayLike
    cutout: int = 0
    shard: Shard = (0, 1)

    def __post_init__(self) -> None:
        if not 0 < len(self.images) == len(self.labels):
            raise ValueError(
                "`images` and `labels` must have the same length, which must be at least 1. "
                f"Received: {len(self.images)} images and {len(self.labels)} labels"
            )
        check_shard(self.batch_size, self.shard)

    def __len__(self) -> int:
        """The number of batches per epoch."""
        return steps_per_epoch(len(self.images), self.batch_size)

    def batch(self, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns batch `index`, from 0, of epoch `epoch`: uint8 (batch, H, W, C) and labels (batch,).

        Raises:
            IndexError: the epoch has no such batch.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"`index` must be from 0 to {len(self) - 1}. Received: {index}")
        return self._augmented(self._order(epoch), epoch, index)

    def stream(self, start_epoch: int = 0, start_batch: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields batches without end, beginning with batch `start_batch` of epoch `start_epoch`."""
        yield from itertools.starmap(self._augmented, self._positions(start_epoch, start_batch))

    def stream_views(self, start_epoch: int = 0, start_batch: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields the batches of `stream` as descriptions of their views, to be cut from the images of `padded`.

        Yields:
            int32 (batch, 4), or (batch, 6) with cutout, and labels (batch,). The columns are: the image's index; 1 if
            it is mirrored; the first row and column of its window in the padded, possibly mirrored image; and with
            cutout the row and column, within the window, of the centre of the erased square.
        """
        yield from itertools.starmap(self._view_descriptions, self._positions(start_epoch, start_batch))

    def padded(self) -> np.ndarray:
        """Returns all images with their border, uint8 (N, H + 2 pad, W + 2 pad, C)."""
        return _padded(self.images, self.pad, self.fill)

    def _positions(self, epoch: int, index: int) -> Iterator[tuple[np.ndarray, int, int]]:
        """Yields the image order of the epoch, the epoch and the batch index, for each batch from the given one on."""
        epoch, index = divmod(epoch * len(self) + index, len(self))
        while True:
            order = self._order(epoch)
            while index < len(self):
                yield order, epoch, index
                index += 1
            epoch, index = epoch + 1, 0

    def _order(self, epoch: int) -> np.ndarray:
        return generator(self.seed, epoch).permutation(len(self.images))

    def _augmented(self, order: np.ndarray, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = order[index * self.batch_size : (index + 1) * self.batch_size]
        rng = generator(self.seed, epoch, index)
        images = pad_crop_flip(self.images[chosen], rng, pad=self.pad, flip=self.flip, fill=self.fill)
        if self.cutout:
            images = cut_out(images, rng, size=self.cutout, fill=self.fill)
        part = share_of(len(chosen), self.shard)
        return images[part], self.labels[chosen[part]]

    def _view_descriptions(self, order: np.ndarray, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = order[index * self.batch_size : (index + 1) * self.batch_size]
        rng = generator(self.seed, epoch, index)
        drawn = _draw_windows(rng, len(chosen), self.pad, self.flip)
        if self.cutout:
            drawn += _draw_centers(rng, len(chosen), *self.images.shape[1:3])
        part = share_of(len(chosen), self.shard)
        return np.stack([chosen, *drawn], axis=1, dtype=np.int32, casting="unsafe")[part], self.labels[chosen[part]]


@dataclass(frozen=True, eq=False, kw_only=True)
class ArrayTestBatches:
    """Batches for testing that contain every image once, in order and unchanged.

    Iterating yields images (batch, H, W, C), labels (batch,) and weights float32 (batch,), and may be repeated. All
    batches have the full size: the last one is filled up with black images of weight 0.

    Attributes:
        images: uint8 (N, H, W, C).
        labels: (N,).
        batch_size: the number of images per batch, summed over all processes.
        shard: (process, processes): each process receives its part of every batch.

    Raises:
        ValueError: the batch size is below 1 or cannot be divided evenly among the processes.
    """

    images: np.ndarray
    labels: np.ndarray
    batch_size: int
    shard: Shard = (0, 1)

    def __post_init__(self) -> None:
        check_shard(self.batch_size, self.shard)

    def __len__(self) -> int:
        """The number of batches in one pass."""
        return -(-len(self.images) // self.batch_size)

    def batch(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns batch `index`, from 0: images, labels and weights.

        Raises:
            IndexError: there is no such batch.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"`index` must be from 0 to {len(self) - 1}. Received: {index}")
        part = share_of(self.batch_size, self.shard)
        first = index * self.batch_size
        rows = slice(first + part.start, first + part.stop)
        images, labels = self.images[rows], self.labels[rows]
        weights = np.ones(len(images), np.float32)
        missing = part.stop - part.start - len(images)
        return _zero_padded(images, missing), _zero_padded(labels, missing), _zero_padded(weights, missing)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for index in range(len(self)):
            yield self.batch(index)


def _zero_padded(array: np.ndarray, count: int) -> np.ndarray:
    """Appends `count` zero rows."""
    return np.concatenate([array, np.zeros((count, *array.shape[1:]), array.dtype)]) if count else array
