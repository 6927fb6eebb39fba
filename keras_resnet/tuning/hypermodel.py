"""`HyperResNet`: the space as a hypermodel, for those who call keras-tuner themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
import keras_tuner

from ..models.catalog import find
from ..preprocessing import normalize
from ..training.compiled import optimizer_of
from ..training.recipe import Recipe
from .candidates import recipe_of
from .dimensions import OF_SPEC, UNITS_PER_STAGE
from .parameters import declare
from .space import Space
from .space import space as find_space

HERE = {UNITS_PER_STAGE, "model", "learning_rate", "momentum", "nesterov", "weight_decay", "batch_size", "schedule"}
ELSEWHERE = ("label_smoothing", "randaugment", "mixup")


class HyperResNet(keras_tuner.HyperModel):
    """A residual network of any depth, width, shortcut, order and skip, and how it is trained.

    It goes where `keras_tuner.applications.HyperResNet` goes: `keras_tuner.RandomSearch(HyperResNet(), ...)`. The
    networks are those of this package, so that CIFAR's keep maps of 8x8 pixels; they take raw images of 0 to 255, and
    what a search saves can be loaded. `keras-resnet tune` does more: it spends no trial on a network that is too large,
    augments as the papers do, and goes on behind a network that does not fit into memory.

    Args:
        input_shape: (height, width, channels).
        classes: number of classes.
        space: what is searched, as `keras_resnet.tuning.space.space` makes it; None for the network, and learning
            rate, momentum, weight decay, batch size and schedule.
        recipe: what all candidates have in common; None for the papers' recipe. Its `model` is the network where the
            space has no "units_per_stage". Of its training, the optimizer, the batch size and the schedule count.
        mean: what is subtracted from the images, by channel or for all.

    Raises:
        ValueError: a space of what `fit` alone does not do, such as augmentation.
    """

    def __init__(
        self,
        input_shape: Sequence[int] = (32, 32, 3),
        classes: int = 10,
        space: Space | None = None,
        recipe: Recipe | None = None,
        mean: float | Sequence[float] = 127.5,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self.input_shape, self.classes = tuple(input_shape), classes
        self.space = space or find_space("all", without=ELSEWHERE)
        if elsewhere := [row.name for row in self.space.dimensions if row.name not in OF_SPEC | HERE]:
            raise ValueError(f"{', '.join(elsewhere)} can be searched by `keras-resnet tune` alone; leave them out.")
        # Whose schedule is that of `fit`.
        self.base = replace(recipe or Recipe(dataset=""), epochs=1, iterations=None)
        self.mean = [mean] * self.input_shape[-1] if isinstance(mean, int | float) else list(mean)

    def recipe(self, hp: keras_tuner.HyperParameters) -> Recipe:
        """What a trial trains."""
        return recipe_of(self.base, declare(self.space, hp))

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """A compiled network of a trial, for labels that are numbers; its output is probabilities, (batch, classes).

        Raises:
            keras_tuner.errors.FailedTrialError: a candidate that cannot be, such as option A where channels would be
                dropped.
        """
        image = keras.Input(self.input_shape, name="image")
        inside = normalize(image, self.mean, None, "channels_last")
        try:
            recipe = self.recipe(hp)
            model = find(recipe.model)(
                input_tensor=inside, classes=self.classes, data_format="channels_last", **recipe.network
            )
        except ValueError as error:
            raise keras_tuner.errors.FailedTrialError(str(error)) from error
        model.compile(optimizer_of(recipe), "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    def fit(self, hp: keras_tuner.HyperParameters, model: keras.Model, *args: Any, **kwargs: Any) -> Any:
        """Fits with the trial's batch size, and with its learning rate falling from epoch to epoch."""
        epochs = kwargs.get("epochs", 1)
        recipe = replace(self.recipe(hp), epochs=epochs, iterations=epochs, warmup_iterations=None)
        # As in its middle: where a schedule rises, the first begins at no rate.
        falling = keras.callbacks.LearningRateScheduler(lambda epoch: recipe.rate(epoch + 0.5))
        kwargs.setdefault("batch_size", recipe.batch_size)
        return model.fit(*args, **{**kwargs, "callbacks": [*kwargs.get("callbacks", []), falling]})
