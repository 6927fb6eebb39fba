"""What a run is tested on, in batches that every device gets an equal part of."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from ..backend.devices import Devices
from ..data import DataError, LabelledImages
from ..data.transport import ahead

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]


class EvaluationFeed(keras.utils.PyDataset):
    """Batches of images, one-hot labels and weights: every test image once, or this process's share of them.

    All batches have one size, which the devices divide; so the last is filled up with images of weight zero. The
    weights of the others are such that the mean over all is 1: Keras's loss is the sum divided by the number of all
    images, and so is the mean over those that count. Photographs that are not whole have weight zero, too, and make the
    loss so much smaller; the accuracy is that of the others.

    Args:
        data: what is tested on.
        devices: what the run trains on.
        largest_batch: images of all processes to be tested at once.
        threads: that make batches ahead.
        **views: as the data's `test_batches` takes them.

    Attributes:
        problems: what became of batches that could not be made.
    """

    def __init__(
        self, data: LabelledImages, devices: Devices, largest_batch: int, *, threads: int = 1, **views: Any
    ) -> None:
        super().__init__(workers=threads)
        size = _up(min(data.test_count, largest_batch), devices.replicas)
        shard = devices.process, devices.processes
        self._batches = data.test_batches(batch_size=size, shard=shard, **views)
        self._weight = len(self._batches) * size / data.test_count
        self._classes = data.classes
        self.problems: list[DataError] = []

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> Batch:
        with recording_errors(self.problems):
            images, labels, weights = self._batches.batch(index)
        return images, one_hot(labels, self._classes), (weights * self._weight).astype("float32")

    def repeated(self) -> Iterator[Batch]:
        """All batches, and again from the first; the threads make those of the first pass alone."""
        if self.workers > 1:
            yield from ahead(self.__getitem__, 0, len(self), threads=self.workers)
        yield from map(self.__getitem__, itertools.cycle(range(len(self))))


@contextlib.contextmanager
def recording_errors(problems: list[DataError]) -> Iterator[None]:
    """Puts down what is wrong with the data, on its way to whoever asked for them."""
    try:
        yield
    except DataError as error:
        problems.append(error)
        raise


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """(n,) integers as float32 (n, classes)."""
    found = np.zeros((len(labels), classes), "float32")
    found[np.arange(len(labels)), labels] = 1.0
    return found


def _up(number: int, divisor: int) -> int:
    """The next multiple."""
    return -(-number // divisor) * divisor
