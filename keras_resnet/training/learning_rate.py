"""The learning rate: a schedule that the optimizer follows by itself, or one that a callback sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from .folder import Progress
from .recipe import Recipe, as_json
from .schedule import plateaus


@keras.saving.register_keras_serializable("keras_resnet")
class RecipeSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A recipe's rate by the number of the optimizer's step, for one that is `has_fixed_schedule`.

    Nothing has to be set from outside at each step, for which JAX would have to hand all variables over. In float16,
    a step that is left out because its gradients are not finite does not count.

    Args:
        recipe: a resolved recipe, or what `as_json` makes of one.
    """

    def __init__(self, recipe: Recipe | Mapping[str, Any]) -> None:
        super().__init__()
        self.recipe = recipe if isinstance(recipe, Recipe) else Recipe(**recipe)
        rates = [self.recipe.rate(update) for update in range(self.recipe.iterations + 1)]
        self._rates = keras.ops.convert_to_tensor(np.array(rates, "float32"))

    def __call__(self, step: Any) -> Any:
        return keras.ops.take(self._rates, keras.ops.minimum(step // self.recipe.accumulate, self.recipe.iterations))

    def get_config(self) -> dict[str, Any]:
        return {"recipe": as_json(self.recipe)}


def rate_or_schedule(recipe: Recipe) -> float | RecipeSchedule:
    """The optimizer's learning rate: a schedule if it is known beforehand, else a number that a callback sets."""
    return RecipeSchedule(recipe) if recipe.has_fixed_schedule else recipe.learning_rate


class LearningRate(keras.callbacks.Callback):
    """Sets the rate, unless the optimizer follows a schedule, and tells it; knows when a warm-up or a plateau ends.

    He et al. 2015, section 4.2: a 110-layer network starts at 0.01 until its training error is below 80 %, some 400
    iterations, then goes on with 0.1. The training error is the one on the progress bar: over the epoch so far. While
    a network is that bad, its rate falls with the schedule all the same. The 400 iterations of He et al. 2016 are a
    part of the schedule, see `Recipe.rate`.

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
        self.warming = progress.state.get("warming", recipe.waits_for_error)
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
        if self.recipe.has_fixed_schedule:
            return
        if self.warming and batch:
            self._see(self.model.get_metrics_result())
        update = (self._first_step + batch) // self.recipe.accumulate
        rate = self.recipe.rate(update) / self.recipe.drop_factor**self._falls
        if self.warming:
            rate = min(rate, self.recipe.warmup_rate)
        if rate != self._current:
            self.model.optimizer.learning_rate = rate  # on JAX, `self.model` takes the variables back from `fit`
        self._current = rate

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._see(logs)
        last = (epoch + 1) * self.steps_per_epoch - 1
        fixed = self.recipe.has_fixed_schedule
        logs["learning_rate"] = self.recipe.rate(last // self.recipe.accumulate) if fixed else self._current

    def _see(self, logs: dict[str, Any]) -> None:
        """Ends the warm-up when the training error is low enough."""
        self.warming = self.warming and 1 - float(logs["accuracy"]) >= self.recipe.warmup_error
