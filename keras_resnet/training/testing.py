"""The test batches of a run, which are divided equally among its devices."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from ..backend.devices import Devices
from ..data import ArrayTestBatches, DataError, LabelledImages
from ..data.transport import prefetch

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]


class EvaluationFeed(keras.utils.PyDataset):
    """Batches of images, one-hot labels and weights: every test image once, or this process's share of them.

    All batches have the same size, a multiple of the number of devices, so the last is padded with images of weight
    zero. The weights of the test images are scaled so that the mean of all weights is 1: Keras divides the weighted sum
    of the losses by the number of all images, which then gives the mean over the test images. Photographs that cannot
    be decoded have weight zero, too: `mean_loss` corrects the loss for them. The accuracy is that of the others.

    Args:
        data: the data set, whose test images are used.
        devices: the devices that the run trains on.
        largest_batch: upper limit of the batch size over all processes, before rounding up to a multiple of the
            devices.
        threads: number of threads that prepare batches ahead.
        **views: arguments of the data's `test_batches`.

    Attributes:
        problems: the errors of batches that could not be prepared.
    """

    def __init__(
        self, data: LabelledImages, devices: Devices, largest_batch: int, *, threads: int = 1, **views: Any
    ) -> None:
        super().__init__(workers=threads)
        self._count, self._devices = data.test_count, devices
        size = _round_up(min(data.test_count, largest_batch), devices.replicas)
        shard = devices.process, devices.processes
        self._batches = data.test_batches(batch_size=size, shard=shard, **views)
        self._weight = len(self._batches) * size / data.test_count
        self._classes = data.classes
        self._tested: dict[int, int] = {}  # images of each batch that could be decoded in the latest test
        self.problems: list[DataError] = []

    def __len__(self) -> int:
        return len(self._batches)

    def tested(self) -> int:
        """Returns how many images the latest test included: all that could be decoded, in all processes.

        All processes must call this at the same moment.
        """
        if isinstance(self._batches, ArrayTestBatches):
            return self._count
        return sum(map(int, self._devices.gather(str(sum(self._tested.values())))))

    def mean_loss(self, loss: float) -> float:
        """Returns the mean loss of the images that the latest test included, given the loss that Keras reports.

        All processes must call this at the same moment.
        """
        return loss * self._count / max(1, self.tested())

    def __getitem__(self, index: int) -> Batch:
        with recording_errors(self.problems):
            images, labels, weights = self._batches.batch(index)
        self._tested[index] = int(np.count_nonzero(weights))
        return images, one_hot(labels, self._classes), (weights * self._weight).astype("float32")

    def repeated(self) -> Iterator[Batch]:
        """Yields all batches over and over; threads prepare those of the first pass only."""
        if self.workers > 1:
            yield from prefetch(self.__getitem__, 0, len(self), threads=self.workers)
        yield from map(self.__getitem__, itertools.cycle(range(len(self))))


class MeanTestLoss(keras.callbacks.Callback):
    """Corrects the test loss in the logs of an epoch for images that cannot be decoded.

    Args:
        batches: the test batches.
    """

    def __init__(self, batches: EvaluationFeed) -> None:
        super().__init__()
        self._batches = batches

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        logs["val_loss"] = self._batches.mean_loss(float(logs["val_loss"]))


@contextlib.contextmanager
def recording_errors(problems: list[DataError]) -> Iterator[None]:
    """Context manager that appends data errors to a list and lets them pass."""
    try:
        yield
    except DataError as error:
        problems.append(error)
        raise


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """Returns integer labels (n,) as one-hot float32 (n, classes)."""
    encoded = np.zeros((len(labels), classes), "float32")
    encoded[np.arange(len(labels)), labels] = 1.0
    return encoded


def _round_up(number: int, divisor: int) -> int:
    return -(-number // divisor) * divisor
