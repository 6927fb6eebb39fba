"""The papers' augmentation, in NumPy, as a pure function of (seed, epoch, batch index)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

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
    """Mirrors an image or not, by chance, pads its sides and cuts a random window of the original size.

    This is the CIFAR augmentation of He et al. 2015, section 4.2, with pad=4. The paper subtracts the mean
    first and then pads with zeros. Here the mean is subtracted inside the model, which takes raw images, so
    the border is filled with the training set's mean colour, and that the model maps to (about) zero.

    Args:
        images: uint8 (N, H, W, C); left as they are.
        rng: draws the windows and the mirrored images, independently and uniformly.
        pad: pixels added to each side; 0 cuts nothing.
        flip: whether to mirror left and right, each image with probability one half.
        fill: the border's colour, C values from 0 to 255, such as `Dataset.mean_color`.

    Returns:
        New images of the same shape and type.
    """
    images = np.ascontiguousarray(images)
    count, height, width, channels = images.shape
    padded = np.empty((count, height + 2 * pad, (width + 2 * pad) * channels), images.dtype)
    padded[:] = np.tile(_color(fill, images), width + 2 * pad)  # by rows: 16 times as fast as by pixels
    padded = padded.reshape(count, height + 2 * pad, width + 2 * pad, channels)
    inner = np.s_[:, pad : pad + height, pad : pad + width]
    padded[inner] = images
    mirrored, top, left = _draw_windows(rng, count, pad, flip)
    if flip:
        np.copyto(_pixels(padded)[inner], _pixels(images)[:, :, ::-1], where=mirrored[:, np.newaxis, np.newaxis])
    # A view of every window of every image: (N, 2 pad + 1, 2 pad + 1, H, W, C).
    windows = sliding_window_view(padded, (height, width, channels), axis=(1, 2, 3))[:, :, :, 0]
    return windows[np.arange(count), top, left]


def cut_out(images: np.ndarray, rng: np.random.Generator, *, size: int, fill: ArrayLike) -> np.ndarray:
    """Erases a square of every image (cutout, DeVries & Taylor 2017).

    The square's centre is any pixel of the image, so that parts of the square may lie outside.

    Args:
        images: uint8 (N, H, W, C); left as they are.
        rng: draws the centres, uniformly.
        size: the square's side in pixels; the publication has 16 for CIFAR-10 and 8 for CIFAR-100.
        fill: the colour of the erased square, C values from 0 to 255.

    Returns:
        New images of the same shape and type.
    """
    count, height, width, _ = images.shape
    centers = _draw_centers(rng, count, height, width)
    rows, columns = (_spans(center, size, length) for center, length in zip(centers, (height, width), strict=True))
    erased = images.copy()
    square = rows[:, :, np.newaxis] & columns[:, np.newaxis, :]
    np.copyto(_pixels(erased), _pixels(_color(fill, images)), where=square)
    return erased


def _draw_windows(rng: np.random.Generator, count: int, pad: int, flip: bool) -> list[np.ndarray]:
    """Of each image, whether it is mirrored, and the first row and column of its window once it is padded."""
    mirrored = rng.random(count) < 0.5 if flip else np.zeros(count, bool)
    return [mirrored, *rng.integers(0, 2 * pad + 1, (2, count))]


def _draw_centers(rng: np.random.Generator, count: int, height: int, width: int) -> list[np.ndarray]:
    """The row and the column of the centre of each image's erased square."""
    return [rng.integers(0, height, count), rng.integers(0, width, count)]


def _spans(centers: np.ndarray, size: int, length: int) -> np.ndarray:
    """A mask (N, length) of the `size` positions about each centre."""
    offsets = np.arange(length) - (centers - size // 2)[:, np.newaxis]
    return (offsets >= 0) & (offsets < size)


def _color(fill: ArrayLike, images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.broadcast_to(np.asarray(fill, images.dtype), images.shape[-1:]))


def _pixels(images: np.ndarray) -> np.ndarray:
    """A view (..., H, W) whose items are whole pixels: these are copied 3 times as fast as their bytes."""
    return images.view(f"V{images.shape[-1] * images.itemsize}")[..., 0]


def steps_per_epoch(count: int, batch_size: int) -> int:
    """The number of whole batches in `count` images, and one where there are fewer than a batch."""
    return max(1, count // batch_size)


def generator(seed: int, *key: int) -> np.random.Generator:
    """The generator of a seed and a key, such as (epoch,) or (epoch, index); other keys have independent ones."""
    # As a spawn key: as plain entropy, (epoch,) and (epoch, 0) would seed the same generator.
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


@dataclass(frozen=True, eq=False, kw_only=True)
class TrainingBatches:
    """Shuffled, augmented batches for training, each one a pure function of (seed, epoch, index).

    A run that is resumed sees exactly what an uninterrupted one would have seen.
    The images that an epoch's whole batches leave over are dropped, other ones in every epoch. Where there
    are fewer images than a batch, a batch is all of them.

    Attributes:
        images: uint8 (N, H, W, C), N at least 1.
        labels: (N,).
        batch_size: images a batch, at least 1; of all processes together.
        seed: a non-negative integer.
        pad, flip, fill: as `pad_crop_flip` takes them.
        cutout: the side of the square that `cut_out` erases, in pixels; 0 erases nothing.
        shard: (process, processes): each process gets its part of every batch, and together they have what one
            process alone would have.

    Raises:
        ValueError: there are no images, not as many labels, or the batch size is below 1 or cannot be shared.
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
                "`labels` must be as many as `images`, and at least one. "
                f"Received: {len(self.images)} images and {len(self.labels)} labels"
            )
        if self.batch_size < 1:
            raise ValueError(f"`batch_size` must be at least 1. Received: {self.batch_size}")
        check_shard(self.batch_size, self.shard)

    def __len__(self) -> int:
        """Batches an epoch."""
        return steps_per_epoch(len(self.images), self.batch_size)

    def batch(self, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns batch `index`, from 0, of epoch `epoch`: uint8 (batch, H, W, C) and labels (batch,).

        Raises:
            IndexError: the epoch has no such batch.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of an epoch of {len(self)} batches")
        return self._augmented(self._order(epoch), epoch, index)

    def stream(self, start_epoch: int = 0, start_batch: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields the batches from `start_batch` of epoch `start_epoch` on, and those of the next, without end."""
        yield from itertools.starmap(self._augmented, self._places(start_epoch, start_batch))

    def stream_views(self, start_epoch: int = 0, start_batch: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """What `stream` yields, with images told by what was drawn of them: for who has `padded` at hand.

        Yields:
            int32 (batch, 4), or (batch, 6) with cutout, and labels (batch,): an image's number; 1 if it is mirrored;
            the first row and column of its window, of the image that is mirrored, or not, and padded; and the row and
            column, within the window, of the centre of the erased square.
        """
        yield from itertools.starmap(self._viewed, self._places(start_epoch, start_batch))

    def padded(self) -> np.ndarray:
        """All images with their border: uint8 (N, H + 2 pad, W + 2 pad, C)."""
        count, height, width, channels = self.images.shape
        shape = count, height + 2 * self.pad, width + 2 * self.pad, channels
        found = np.empty(shape, self.images.dtype)
        found[:] = _color(self.fill, self.images)
        found[:, self.pad : self.pad + height, self.pad : self.pad + width] = self.images
        return found

    def _places(self, epoch: int, index: int) -> Iterator[tuple[np.ndarray, int, int]]:
        """The order of its epoch, the epoch and the index of each batch from this one on."""
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

    def _viewed(self, order: np.ndarray, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = order[index * self.batch_size : (index + 1) * self.batch_size]
        rng = generator(self.seed, epoch, index)
        drawn = _draw_windows(rng, len(chosen), self.pad, self.flip)
        if self.cutout:
            drawn += _draw_centers(rng, len(chosen), *self.images.shape[1:3])
        part = share_of(len(chosen), self.shard)
        return np.stack([chosen, *drawn], axis=1, dtype=np.int32, casting="unsafe")[part], self.labels[chosen[part]]


@dataclass(frozen=True, eq=False, kw_only=True)
class ArrayTestBatches:
    """Every image once, in order, as it is.

    Iterating yields images (batch, H, W, C), labels (batch,) and weights float32 (batch,), as often as it is asked
    for. All batches have the full size: what lacks to the last one is black and has weight 0.

    Attributes:
        images: uint8 (N, H, W, C).
        labels: (N,).
        batch_size: images a batch; of all processes together.
        shard: (process, processes): each process gets its part of every batch.

    Raises:
        ValueError: the batch size is below 1 or cannot be shared.
    """

    images: np.ndarray
    labels: np.ndarray
    batch_size: int
    shard: Shard = (0, 1)

    def __post_init__(self) -> None:
        check_shard(self.batch_size, self.shard)

    def __len__(self) -> int:
        """Batches in one pass."""
        return -(-len(self.images) // self.batch_size)

    def batch(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns batch `index`, from 0: images, labels and weights.

        Raises:
            IndexError: there is no such batch.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        part = share_of(self.batch_size, self.shard)
        first = index * self.batch_size
        rows = slice(first + part.start, first + part.stop)
        images, labels = self.images[rows], self.labels[rows]
        weights = np.ones(len(images), np.float32)
        lacking = part.stop - part.start - len(images)
        return _padded(images, lacking), _padded(labels, lacking), _padded(weights, lacking)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for index in range(len(self)):
            yield self.batch(index)


def _padded(array: np.ndarray, lacking: int) -> np.ndarray:
    return np.concatenate([array, np.zeros((lacking, *array.shape[1:]), array.dtype)]) if lacking else array
