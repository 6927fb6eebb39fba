"""What a run is trained and tested on, batch by batch."""

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

TEST_BATCH = 500  # images in memory that are tested at once


class Feed:
    """The batches of a run.

    Args:
        recipe: a resolved recipe.
        data: what it is trained and tested on.
        devices: which each get an equal part of every batch.
        machine: what this machine decides.

    Attributes:
        batches: of training.
        steps: of an epoch; where a batch goes through the network in parts, each of them is one.
        images_per_epoch: images that are trained on in an epoch.
        test_batches: what the run is tested on.

    Raises:
        ValueError: views that cannot be.
    """

    def __init__(self, recipe: Recipe, data: LabelledImages, devices: Devices, machine: Machine) -> None:
        self.recipe, self.data, self.devices, self.machine = recipe, data, devices, machine
        batches = steps_per_epoch(data.train_count, recipe.batch_size)
        self.steps = batches * recipe.accumulate
        self.images_per_epoch = min(data.train_count, batches * recipe.batch_size)
        part = recipe.batch_size // recipe.accumulate
        views = {name: value for name in AUGMENTATION if (value := getattr(recipe, name)) is not None}
        if recipe.size is not None:
            views["size"] = tuple(recipe.size_in(epoch) for epoch in range(recipe.epochs))
        self.batches = data.training_batches(
            batch_size=part,
            seed=recipe.seed,
            shard=(devices.process, devices.processes),
            workers=machine.workers,
            **views,
        )
        largest, threads = (TEST_BATCH, 1) if data.in_memory else (part, reader_threads())
        tested = {"size": recipe.test_size, "resize": recipe.test_resize}
        self.test_batches = EvaluationFeed(data, devices, largest, threads=threads, **tested)
        self._problems: list[DataError] = []

    def training_batches(
        self, epoch: int, step: int, end: int | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """This process's part of every batch: images and one-hot labels.

        Args:
            epoch, step: the first batch, both from 0.
            end: the epoch before which it ends; None for no end.
        """
        return self._some_of(self.batches.stream, epoch, step, end)

    def fit_batches(self, epoch: int, step: int, end: int | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """What goes through `fit`: that, or with images on the device what was drawn of them, and one-hot labels."""
        stream = self.batches.stream_views if self.machine.images_on_device else self.batches.stream
        return self._some_of(stream, epoch, step, end)

    def _some_of(
        self, stream: Callable[..., Iterator[Any]], epoch: int, step: int, end: int | None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        left = None if end is None else (end - epoch) * self.steps - step
        whole = (
            (images, one_hot(labels, self.data.classes))
            for index, (images, labels) in enumerate(stream(epoch, step), step)
            if index % len(self.batches) < self.steps  # the parts of whole batches
        )
        with recording_errors(self._problems):
            yield from itertools.islice(whole, left)

    @contextlib.contextmanager
    def raising_original_errors(self) -> Iterator[None]:
        """Raises what is wrong with the data as it was raised: TensorFlow makes an error of its own of it.

        Any other error goes on as it is.
        """
        try:
            yield
        except Exception as error:  # TensorFlow's, whose kind is not known here
            problems = self._problems + self.test_batches.problems
            if problems and error not in problems:
                raise problems[0] from error
            raise
