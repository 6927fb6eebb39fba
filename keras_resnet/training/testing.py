"""What a run is tested on, in the form that every device gets an equal part of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from ..backend.devices import Devices


@dataclass(frozen=True)
class Tested:
    """Arrays for `model.fit` and `model.evaluate`.

    Attributes:
        arrays: images, one-hot labels and, on several devices, the images' weights.
        batch_size: images a batch, of this process.
    """

    arrays: tuple[np.ndarray, ...]
    batch_size: int


def tested(images: np.ndarray, labels: np.ndarray, devices: Devices, largest_batch: int) -> Tested:
    """The images that a run is tested on, or this process's share of them.

    On several devices every batch must have the same size, which they divide. So some images come again, with a weight
    of zero. The weights of the others are such that the mean over all is 1: Keras's loss is the sum divided by the
    number of all images, and so is the mean over those that count.

    Args:
        images, labels: of all processes; the labels are one-hot.
        devices: what the run trains on.
        largest_batch: images of all processes to be tested at once.
    """
    if devices.replicas == 1:
        return Tested((images, labels), largest_batch)
    count = len(images)
    batch = _up(min(count, largest_batch), devices.replicas)
    total = _up(count, batch)
    weights = np.where(np.arange(total) < count, total / count, 0).astype("float32")
    # A process's share is a part of every batch.
    share = np.arange(total).reshape(-1, devices.processes, batch // devices.processes)[:, devices.process].ravel()
    return Tested((images[share % count], labels[share % count], weights[share]), batch // devices.processes)


def _up(number: int, divisor: int) -> int:
    """The next multiple."""
    return -(-number // divisor) * divisor


@keras.saving.register_keras_serializable("keras_resnet")
class Accuracy(keras.metrics.CategoricalAccuracy):
    """The share of right answers, exactly: an image counts once or, with a weight of zero, not at all."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        counted = None if sample_weight is None else keras.ops.cast(sample_weight > 0, "float32")
        super().update_state(y_true, y_pred, counted)
