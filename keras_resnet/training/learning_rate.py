"""The one controller of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import keras

from .folder import Progress
from .recipe import Recipe


class LearningRate(keras.callbacks.Callback):
    """The schedule, and the warm-up that ends by the training error.

    He et al. 2015, section 4.2: a 110-layer network starts at 0.01 until its training error is below 80 %, some 400
    iterations, then goes on with 0.1. The training error is the one on the progress bar: over the epoch so far.

    Section 3.4: on ImageNet, it is divided by 10 "when the error plateaus": here, when the error on what the run is
    tested on has not been lower for `recipe.patience` epochs.

    Args:
        recipe: a resolved recipe.
        steps_per_epoch: steps in an epoch.
        progress: how far the run is; where it is at its beginning, so is its warm-up.
    """

    def __init__(self, recipe: Recipe, steps_per_epoch: int, progress: Progress) -> None:
        super().__init__()
        self.recipe = recipe
        self.steps_per_epoch = steps_per_epoch
        self.progress = progress
        self.warming = progress.state.get("warming", recipe.warmup_rate > 0)
        self._first_step, self._falls, self._current = 0, 0, None

    @property
    def state(self) -> dict[str, Any]:
        """What must be remembered for the run to go on."""
        return {"warming": self.warming}

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._first_step = epoch * self.steps_per_epoch + self.progress.step
        if self.recipe.schedule == "plateau":
            errors = [row.get("validation_error", row.get("test_error")) for row in self.progress.history]
            self._falls = plateaus(errors, self.recipe.patience)

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self.warming and batch:
            self._see(self.model.get_metrics_result())
        rate = self.recipe.warmup_rate
        if not self.warming:
            update = (self._first_step + batch) // self.recipe.accumulate
            rate = self.recipe.rate(update) / self.recipe.drop_factor**self._falls
        if rate != self._current:
            self.model.optimizer.learning_rate = rate  # on JAX, `self.model` takes the variables back from `fit`
            self._current = rate

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._see(logs)
        logs["learning_rate"] = self._current

    def _see(self, logs: dict[str, Any]) -> None:
        """Ends the warm-up when the training error is low enough."""
        self.warming = self.warming and 1 - float(logs["accuracy"]) >= self.recipe.warmup_error


def plateaus(errors: Iterable[float], patience: int) -> int:
    """How often, over the epochs with these errors, none of `patience` epochs was better than the best before them."""
    best, waited, count = math.inf, 0, 0
    for error in errors:
        best, waited = (error, 0) if error < best else (best, waited + 1)
        if waited == patience:
            count, waited = count + 1, 0
    return count
