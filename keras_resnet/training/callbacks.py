"""What happens around the steps of `model.fit`: the learning rate, the books, and a stop where the loss is lost."""

from __future__ import annotations

import math
import time
from typing import Any

import keras
import numpy as np

from ..backend.devices import Devices
from .folder import RunFolder
from .recipe import Recipe


class LearningRate(keras.callbacks.Callback):
    """The one controller of the learning rate: the schedule, and the warm-up that ends by the training error.

    He et al. 2015, section 4.2: a 110-layer network starts at 0.01 until its training error is below 80 %, some 400
    iterations, then goes on with 0.1. The training error is the one on the progress bar: over the epoch so far.

    Args:
        recipe: a resolved recipe.
        steps_per_epoch: steps in an epoch.
        warming: whether the warm-up has not ended yet; None for the start of a run.
    """

    def __init__(self, recipe: Recipe, steps_per_epoch: int, warming: bool | None = None) -> None:
        super().__init__()
        self.recipe = recipe
        self.steps_per_epoch = steps_per_epoch
        self.warming = recipe.warmup_rate > 0 if warming is None else warming
        self._first_step, self._current = 0, None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._first_step = epoch * self.steps_per_epoch

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        rate = self.recipe.warmup_rate if self.warming else self.recipe.rate(self._first_step + batch)
        if rate != self._current:
            self.model.optimizer.learning_rate = rate  # on JAX, `self.model` takes the variables back from `fit`
            self._current = rate

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self.warming and 1 - float(logs["accuracy"]) < self.recipe.warmup_error:
            self.warming = False

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs["learning_rate"] = self._current


class DivergedError(RuntimeError):
    """The loss is no longer a number."""


class StopAtNaN(keras.callbacks.Callback):
    """Ends a run whose loss is no longer finite, before anything of it is kept.

    The loss that Keras reports is a mean over the epoch so far, so it stays lost once it is; looking at it at every
    hundredth step spares the wait for the device at the others. At the end of an epoch every variable is looked at,
    since some, such as a moving variance, may be lost while the loss is not.

    Args:
        split: what the run is tested on, "test" or "validation".
    """

    def __init__(self, split: str) -> None:
        super().__init__()
        self.split = split

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if batch % 100 == 0:
            self._check(logs, f"step {batch + 1} of the epoch")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._check(logs, f"the end of epoch {epoch + 1}")
        for variable in (*self.model.variables, *self.model.optimizer.variables):
            if not np.isfinite(keras.ops.convert_to_numpy(variable)).all():
                raise DivergedError(f"{variable.path} is not finite at the end of epoch {epoch + 1}")

    def _check(self, logs: dict[str, Any] | None, where: str) -> None:
        for name in ("loss", "val_loss"):
            if not math.isfinite(float((logs or {}).get(name, 0.0))):
                raise DivergedError(f"the {name.replace('val_', f'{self.split} ')} is {float(logs[name])} at {where}")


class Bookkeeper(keras.callbacks.Callback):
    """After every epoch, writes a checkpoint, the history and, now and then, the picture of the curves.

    Args:
        folder: the run's folder.
        rate: the run's controller of the learning rate, whose state is kept.
        history: the rows of the epochs before.
        split: what the run is tested on, "test" or "validation".
        devices: what the run trains on.
    """

    def __init__(
        self, folder: RunFolder, rate: LearningRate, history: list[dict[str, Any]], split: str, devices: Devices
    ) -> None:
        super().__init__()
        self.folder, self.rate, self.history, self.split, self.devices = folder, rate, history, split, devices
        self._trained = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._begun, self._trained = time.perf_counter(), None

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._trained = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.history.append(
            {
                "epoch": epoch + 1,
                "train_loss": float(logs["loss"]),
                "train_error": percent_error(logs["accuracy"]),
                f"{self.split}_loss": float(logs["val_loss"]),
                f"{self.split}_error": percent_error(logs["val_accuracy"]),
                "learning_rate": logs["learning_rate"],
                "seconds": round((self._trained or time.perf_counter()) - self._begun, 3),
            }
        )
        with self.devices.for_saving(self.model):
            self.folder.write_checkpoint(self.model, self.history, {"warming": self.rate.warming})
        self.folder.write_history(self.history, last=epoch + 1 == self.params["epochs"])


def percent_error(accuracy: Any) -> float:
    """Top-1 error in percent."""
    return round(100 * (1 - float(accuracy)), 4)
