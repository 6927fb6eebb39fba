"""The learning rate: a schedule in the optimizer, or set by a callback if it depends on the errors of the run."""

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
    """The learning rate of a recipe as a function of the optimizer's step, if the recipe `has_fixed_schedule`.

    Unlike a callback, it sets nothing from outside at each step, for which JAX would have to sync all variables. In
    float16, a step that is skipped because its gradients are not finite does not count.

    Args:
        recipe: a resolved recipe, or its fields from `as_json`.
    """

    def __init__(self, recipe: Recipe | Mapping[str, Any]) -> None:
        super().__init__()
        self.recipe = recipe if isinstance(recipe, Recipe) else Recipe(**recipe)
        rates = [self.recipe.rate(update) for update in range(self.recipe.steps + 1)]
        self._rates = keras.ops.convert_to_tensor(np.array(rates, "float32"))

    def __call__(self, step: Any) -> Any:
        return keras.ops.take(self._rates, keras.ops.minimum(step // self.recipe.accumulate, self.recipe.steps))

    def get_config(self) -> dict[str, Any]:
        return {"recipe": as_json(self.recipe)}


def rate_or_schedule(recipe: Recipe) -> float | RecipeSchedule:
    """Returns the optimizer's learning rate: a schedule if it is fixed, else the initial value for a callback."""
    return RecipeSchedule(recipe) if recipe.has_fixed_schedule else recipe.learning_rate


class LearningRate(keras.callbacks.Callback):
    """Callback that sets the learning rate, unless the optimizer has a schedule, and adds it to the logs.

    Warm-up: in He et al. 2015, section 4.2, a 110-layer network starts at 0.01 until its training error is below 80 %,
    some 400 iterations, then continues at 0.1. The training error is that of the progress bar, over the epoch so far.
    The rate still drops with the schedule if the warm-up lasts that long. The 400 iterations of He et al. 2016 are part
    of the schedule, see `Recipe.rate`.

    Plateaus: in section 3.4, on ImageNet, the rate is divided by 10 "when the error plateaus": here, when the test (or
    validation) error has not improved for `recipe.patience` epochs.

    Args:
        recipe: a resolved recipe.
        steps_per_epoch: steps in an epoch.
        progress: the progress of the run, from which the state of the warm-up is restored.
    """

    def __init__(self, recipe: Recipe, steps_per_epoch: int, progress: Progress) -> None:
        super().__init__()
        self.recipe = recipe
        self.steps_per_epoch = steps_per_epoch
        self.progress = progress
        self.warming = progress.state.get("warming", recipe.waits_for_error)
        self._first_step, self._drops = 0, 0
        self._current: float | None = None

    @property
    def state(self) -> dict[str, Any]:
        """The state that must be saved for the run to be resumed."""
        return {"warming": self.warming}

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._first_step = epoch * self.steps_per_epoch + self.progress.step
        if self.recipe.schedule == "plateau":
            errors = [row[f"{self.recipe.split}_error"] for row in self.progress.history]
            self._drops = plateaus(errors, self.recipe.patience)

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self.recipe.has_fixed_schedule:
            return
        if self.warming and batch:
            self._update_warmup(self.model.get_metrics_result())
        update = (self._first_step + batch) // self.recipe.accumulate
        rate = self.recipe.rate(update) / self.recipe.drop_factor**self._drops
        if self.warming and self.recipe.warmup_rate:
            rate = min(rate, self.recipe.warmup_rate)
        if rate != self._current:
            self.model.optimizer.learning_rate = rate  # on JAX, `self.model` syncs the variables from `fit`
        self._current = rate

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        self._update_warmup(logs)
        last = (epoch + 1) * self.steps_per_epoch - 1
        fixed = self.recipe.has_fixed_schedule
        logs["learning_rate"] = self.recipe.rate(last // self.recipe.accumulate) if fixed else self._current

    def _update_warmup(self, logs: dict[str, Any]) -> None:
        """Ends the warm-up when the training error is low enough."""
        self.warming = self.warming and 1 - float(logs["accuracy"]) >= self.recipe.warmup_error
