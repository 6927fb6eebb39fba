"""Batches of photographs that do not fit into memory, read from a source on demand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial

import numpy as np

from .augment import generator, steps_per_epoch
from .bad_images import BAD_SHARE, BadImages
from .decoding import Window
from .errors import DataError
from .records import Record, Source
from .sharding import Shard, check_shard, share_of
from .transport import prefetch
from .views import (
    DRAWS,
    SIZE,
    aspect_ratio_window,
    center_window,
    check_views,
    color_offsets,
    default_resize,
    draw_view,
    scale_window,
)

_CHUNK = 16  # records read at a time, few enough to stay in the processor's cache


@dataclass(frozen=True, eq=False)
class Split:
    """The images of a source that are used for training, or those for testing.

    Attributes:
        source: the source, which returns its images by number.
        indices: the indices of the images of this split.
        name: the name of the split in messages.
    """

    source: Source
    indices: np.ndarray
    name: str

    def __len__(self) -> int:
        return len(self.indices)

    def records(self, positions: np.ndarray) -> Iterator[Record]:
        """Yields the images at these positions of the split, in the order given."""
        for first in range(0, len(positions), _CHUNK):
            yield from self.source.read(self.indices[positions[first : first + _CHUNK]].tolist())


@dataclass(frozen=True, eq=False, kw_only=True)
class StreamTrainingBatches:
    """Shuffled, augmented batches for training, each a pure function of (seed, epoch, index).

    The batches are therefore independent of the number of workers and threads, and a resumed run receives exactly the
    batches of an uninterrupted one: the state of a stream is the epoch and the index of its next batch. Images that do
    not fill a batch at the end of an epoch are dropped; they are different ones in every epoch. If there are fewer
    images than a batch, every batch contains all of them.

    An image that cannot be decoded is replaced by the next decodable image in the epoch's order. The log
    ("keras_resnet.data") names it once and states at the end of each epoch how often such images were met.

    Attributes:
        split: the images.
        batch_size: the number of images per global batch.
        seed: a non-negative integer.
        shard: (process, processes): each process receives its part of every global batch.
        size: the views' side in pixels; or one side per epoch, the last of which applies to all later epochs.
        crop: "scale" (`scale_window`) or "aspect_ratio" (`aspect_ratio_window`).
        scales, area: the arguments of these two; scales refer to the last size and are proportional for other sizes.
        flip: whether to mirror each image left to right with probability one half.
        color: "none", or "pca" for `color_offsets`.
        workers, threads: as for `prefetch`; they affect speed only.
        bad_share: the share of the images that may be undecodable; see `BadImages`.

    Raises:
        DataError: an attribute is out of range or not one of the accepted names.
    """

    split: Split
    batch_size: int
    seed: int
    shard: Shard = (0, 1)
    size: int | Sequence[int] = SIZE
    crop: str = "scale"
    scales: tuple[int, int] = (256, 480)
    area: tuple[float, float] = (0.08, 1.0)
    flip: bool = True
    color: str = "none"
    workers: int = 0
    threads: int | None = None
    bad_share: float = BAD_SHARE
    bad: BadImages = field(init=False, repr=False)
    _sizes: tuple[int, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_shard(self.batch_size, self.shard)
        sizes = (self.size,) if isinstance(self.size, int) else tuple(self.size)
        object.__setattr__(self, "_sizes", sizes)
        for size in dict.fromkeys(sizes):
            check_views(size=size, crop=self.crop, scales=self._scales(size), area=self.area, color=self.color)
        object.__setattr__(self, "bad", BadImages(self.split.name, len(self.split), self.bad_share))

    def __len__(self) -> int:
        """The number of batches per epoch."""
        return steps_per_epoch(len(self.split), self.batch_size)

    def batch(self, epoch: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns batch `index`, from 0, of epoch `epoch`: uint8 (batch, size, size, 3) and int32 (batch,).

        Raises:
            IndexError: the epoch has no such batch.
            DataError: too many images cannot be decoded.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"`index` must be from 0 to {len(self) - 1}. Received: {index}")
        images, labels, bad = self._make(epoch * len(self) + index)
        self.bad.note(bad)
        return images, labels

    def stream(self, start_epoch: int = 0, start_batch: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields batches without end, beginning with batch `start_batch` of epoch `start_epoch`.

        Raises:
            DataError: too many images cannot be decoded.
        """
        start = start_epoch * len(self) + start_batch
        batches = prefetch(self._make, start, workers=self.workers, threads=self.threads)
        for step, (images, labels, bad) in enumerate(batches, start):
            self.bad.note(bad)
            if (step + 1) % len(self) == 0:
                self.bad.report(f"epoch {step // len(self) + 1}")
            yield images, labels

    def _make(self, step: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Returns the images and labels of a step of the run, counted from 0, and the names of undecodable images."""
        epoch, index = divmod(step, len(self))
        order = _order(len(self.split), self.seed, epoch)
        first = index * self.batch_size
        count = min(self.batch_size, len(order))
        # All random numbers of the global batch are drawn, whether used or not, so that an image's augmentation
        # depends neither on the number of processes nor on which other augmentations are enabled.
        rng = generator(self.seed, epoch, index)
        windows, mirrored, normals = (
            rng.random((count, DRAWS)),
            rng.random(count) < 0.5,
            rng.standard_normal((count, 3)),
        )
        part = share_of(count, self.shard)
        windows, mirrored = windows[part].tolist(), (mirrored[part] & self.flip).tolist()
        colors = (color_offsets(normals[part]) * (self.color == "pca")).tolist()
        rows = range(count)[part]
        size = self._sizes[min(epoch, len(self._sizes) - 1)]
        images = np.empty((len(rows), size, size, 3), np.uint8)
        labels = np.empty(len(rows), np.int32)
        bad: list[str] = []
        records = self.split.records(order[first + rows.start : first + rows.stop])
        for row, record in enumerate(records):
            view = partial(
                draw_view, images[row], choose=self._window(windows[row], size), flip=mirrored[row], color=colors[row]
            )
            if not view(record.data):
                record = self._replacement(order, first + rows[row], record, view, bad)
            labels[row] = record.label
        return images, labels, bad

    def _window(self, draws: list[float], size: int) -> partial[Window]:
        if self.crop == "scale":
            return partial(scale_window, draws=draws, size=size, scales=self._scales(size))
        return partial(aspect_ratio_window, draws=draws, area=self.area)

    def _scales(self, size: int) -> tuple[int, int]:
        last = max(1, self._sizes[-1])  # `check_views` refuses smaller sizes
        lowest, highest = self.scales
        return round(lowest * size / last), round(highest * size / last)

    def _replacement(
        self, order: np.ndarray, position: int, record: Record, view: partial[bool], bad: list[str]
    ) -> Record:
        """Draws the view of the next decodable image and returns its record; adds the undecodable ones to `bad`."""
        for step in range(1, len(order)):
            bad.append(record.name)
            self.bad.check(bad)
            (record,) = self.split.records(order[[(position + step) % len(order)]])
            if view(record.data):
                return record
        raise DataError(f"{self.split.name}: none of {len(order)} images can be decoded, the last is {record.name}")


@dataclass(frozen=True, eq=False, kw_only=True)
class StreamTestBatches:
    """Batches for testing that contain every image once, in order: the centre square of the resized image.

    Iterating yields images uint8 (batch, size, size, 3), labels int32 (batch,) and weights float32 (batch,), and may
    be repeated. All batches have the full size: the last one is filled up with rows of weight 0. An image that cannot
    be decoded has weight 0, too, and is named in the log.

    Attributes:
        split, batch_size, shard, workers, threads, bad_share: as for `StreamTrainingBatches`.
        size: the square's side in pixels.
        resize: the shorter side of the resized image; by default `default_resize(size)`.

    Raises:
        DataError: an attribute is out of range.
    """

    split: Split
    batch_size: int
    shard: Shard = (0, 1)
    size: int = SIZE
    resize: int | None = None
    workers: int = 0
    threads: int | None = None
    bad_share: float = BAD_SHARE
    bad: BadImages = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_shard(self.batch_size, self.shard)
        if self.size < 1 or (self.resize is not None and self.resize < self.size):
            raise DataError(
                f"`size` must be at least 1, and `resize` at least `size`. Received: {self.size} and {self.resize}"
            )
        object.__setattr__(self, "bad", BadImages(self.split.name, len(self.split), self.bad_share))

    def __len__(self) -> int:
        """The number of batches in one pass."""
        return -(-len(self.split) // self.batch_size)

    def batch(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns batch `index`, from 0: images, labels and weights.

        Raises:
            IndexError: there is no such batch.
            DataError: too many images cannot be decoded.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"`index` must be from 0 to {len(self) - 1}. Received: {index}")
        images, labels, weights, bad = self._make(index)
        self.bad.note(bad)
        return images, labels, weights

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        batches = prefetch(self._make, 0, len(self), workers=self.workers, threads=self.threads)
        for images, labels, weights, bad in batches:
            self.bad.note(bad)
            yield images, labels, weights
        self.bad.report("in one pass")

    def _make(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
        part = share_of(self.batch_size, self.shard)
        count = part.stop - part.start
        images = np.zeros((count, self.size, self.size, 3), np.uint8)
        labels, weights = np.zeros(count, np.int32), np.zeros(count, np.float32)
        first = index * self.batch_size + part.start
        positions = np.arange(first, min(first + count, len(self.split)))
        choose = partial(center_window, size=self.size, resize=self.resize or default_resize(self.size))
        bad = []
        for row, record in enumerate(self.split.records(positions)):
            labels[row] = record.label
            weights[row] = draw_view(images[row], record.data, choose, average=True)
            if not weights[row]:
                bad.append(record.name)
        return images, labels, weights, bad


@lru_cache(maxsize=2)  # for the current epoch and for batches of the next that are made ahead of time
def _order(count: int, seed: int, epoch: int) -> np.ndarray:
    order = generator(seed, epoch).permutation(count)
    order.flags.writeable = False
    return order
