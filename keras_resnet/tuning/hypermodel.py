"""`HyperResNet`: the space as a hypermodel, for those who call keras-tuner themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
import keras_tuner

from ..models.cifar import cifar_spec
from ..preprocessing import normalize
from ..training.networks import optimizer_of
from ..training.recipe import Recipe
from .candidates import recipe_of
from .dimensions import OF_SPEC, UNITS_PER_STAGE
from .parameters import declare
from .space import Space
from .space import space as find_space

HERE = {UNITS_PER_STAGE, "model", "learning_rate", "momentum", "nesterov", "weight_decay", "batch_size", "schedule"}
ELSEWHERE = ("label_smoothing", "randaugment", "mixup")


def _default_space(side: int) -> Space:
    """What is searched unless said otherwise, without what cannot be built for images whose shorter side has so many
    pixels: no width of a half, at which option A would drop channels, and no stem behind which nothing is left.
    """
    stems = [stem for stem in find_space("all")["stem"].values if cifar_spec(20, stem=stem).total_stride <= side]
    return find_space("all", without=ELSEWHERE, changes={"width": "1,2", "stem": ",".join(stems or ["cifar"])})


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
            rate, momentum, weight decay, batch size and schedule, all candidates of which can be built. One of your
            own may hold some that cannot, such as option A with a `width` below 1: each is a failed trial, and
            keras-tuner ends a search at three in a row (its `max_consecutive_failed_trials`).
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
        # Whose schedule is that of `fit`.
        self.base = replace(recipe or Recipe(dataset=""), epochs=1, iterations=None)
        self.space = space or _default_space(min(self.input_shape[:2]))
        if elsewhere := [row.name for row in self.space.dimensions if row.name not in OF_SPEC | HERE]:
            raise ValueError(f"{', '.join(elsewhere)} can be searched by `keras-resnet tune` alone; leave them out.")
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
            model = recipe.architecture(
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
