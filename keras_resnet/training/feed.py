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
from .recipe import AUGMENTATION, Recipe
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
        steps: steps per epoch; with `recipe.accumulate`, each part of a batch is a step.
        images_per_epoch: number of training images in an epoch.
        test_batches: the test batches.
        split: the images that the run is tested on: "validation" if some are held out, else "test".

    Raises:
        ValueError: If sizes or crops are not possible.
    """

    def __init__(self, recipe: Recipe, data: LabelledImages, devices: Devices, machine: Machine) -> None:
        self.recipe, self.data, self.devices, self.machine = recipe, data, devices, machine
        self.split = "validation" if recipe.validation else "test"
        batches = steps_per_epoch(data.train_count, recipe.batch_size)
        self.steps = batches * recipe.accumulate
        self.images_per_epoch = min(data.train_count, batches * recipe.batch_size)
        part = recipe.batch_size // recipe.accumulate
        views = {name: value for name in AUGMENTATION if (value := getattr(recipe, name)) is not None}
        if recipe.size is not None:
            views["size"] = tuple(recipe.size_in(epoch) for epoch in range(recipe.epochs))
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

    def fit_batches(self, epoch: int, step: int, end: int | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
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
