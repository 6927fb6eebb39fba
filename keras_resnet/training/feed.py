"""The training and test batches of a run."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..backend.devices import Devices
from ..data import DataError, LabelledImages, steps_per_epoch
from ..host import reader_threads
from .machine import Machine
from .recipe import AUGMENTATION, GROWTH, Recipe
from .testing import EvaluationFeed, one_hot, recording_errors

TEST_BATCH = 500  # batch size of tests on images in memory


class Feed:
    """The training and test batches of a run.

    Args:
        recipe: a resolved recipe.
        data: the data set of the run.
        devices: the devices, each of which gets an equal part of every batch.
        machine: the settings of this machine.

    Attributes:
        batches: the training batches, or their parts with `recipe.accumulate`.
        epochs: the number of epochs.
        sizes: the side of the training images in each epoch, which is None if they are not resized.
        steps: steps per epoch; with `recipe.accumulate`, each part of a batch is a step.
        images_per_epoch: number of training images in an epoch.
        test_batches: the test batches.
        split: the images that the run is tested on, "test" or "validation".

    Raises:
        ValueError: sizes or crops are not possible.
    """

    def __init__(self, recipe: Recipe, data: LabelledImages, devices: Devices, machine: Machine) -> None:
        self.recipe, self.data, self.devices, self.machine = recipe, data, devices, machine
        self.split = recipe.split
        batches = steps_per_epoch(data.train_count, recipe.batch_size)
        self.epochs = recipe.epochs_of(batches)
        self.sizes = image_sizes(recipe, self.epochs)
        self.steps = batches * recipe.accumulate
        self.images_per_epoch = min(data.train_count, batches * recipe.batch_size)
        part = recipe.batch_size // recipe.accumulate
        views = {name: value for name in AUGMENTATION if (value := getattr(recipe, name)) is not None}
        if recipe.size is not None:
            views["size"] = tuple(self.sizes)
        self.batches: Any = data.training_batches(
            batch_size=part,
            seed=recipe.seed,
            shard=(devices.process, devices.processes),
            workers=machine.workers,
            **views,
        )
        largest_batch, threads = (TEST_BATCH, 1) if data.in_memory else (part, reader_threads())
        test_views = {"size": recipe.test_size, "resize": recipe.test_resize}
        self.test_batches = EvaluationFeed(data, devices, largest_batch, threads=threads, **test_views)
        self._problems: list[DataError] = []

    def training_batches(
        self, epoch: int, step: int, end: int | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields this process's part of every batch: images and one-hot labels.

        Args:
            epoch, step: the first batch, both from 0.
            end: the epoch before which the stream ends; None for no end.
        """
        return self._batches(self.batches.stream, epoch, step, end)

    def fit_batches(self, epoch: int, step: int, end: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields the batches for `fit`: as `training_batches`, or with `images_on_device` views in place of images."""
        stream = self.batches.stream_views if self.machine.images_on_device else self.batches.stream
        return self._batches(stream, epoch, step, end)

    def _batches(
        self, stream: Callable[..., Iterator[Any]], epoch: int, step: int, end: int | None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        remaining = None if end is None else (end - epoch) * self.steps - step
        batches = (
            (images, one_hot(labels, self.data.classes))
            for index, (images, labels) in enumerate(stream(epoch, step), step)
            if index % len(self.batches) < self.steps  # parts of an incomplete batch are left out
        )
        with recording_errors(self._problems):
            yield from itertools.islice(batches, remaining)

    @contextlib.contextmanager
    def raising_original_errors(self) -> Iterator[None]:
        """Context manager that raises data errors as they were raised, since TensorFlow replaces them by its own.

        All other errors pass unchanged.
        """
        try:
            yield
        except Exception as error:  # TensorFlow's errors; naming their class would import TensorFlow
            problems = self._problems + self.test_batches.problems
            if problems and error not in problems:
                raise problems[0] from error
            raise


def image_sizes(recipe: Recipe, epochs: int) -> list[int | None]:
    """Returns the side of the training images in each epoch of a run, which is None if they are not resized.

    Progressive resizing: smaller images in the first epochs cost less time. With fewer epochs than sizes, the smallest
    sizes are left out, so that a run always ends at its full size.
    """
    if recipe.size is None:
        return [None] * epochs
    rising = [*range(recipe.first_size or recipe.size, recipe.size, GROWTH), recipe.size]
    return [rising[-1 - remaining * len(rising) // epochs] for remaining in reversed(range(epochs))]
