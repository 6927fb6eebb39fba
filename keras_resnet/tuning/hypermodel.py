"""`HyperResNet`: the search space as a hypermodel for keras-tuner's own tuners."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any

import keras
import keras_tuner
import numpy as np

from ..models.cifar import cifar_spec
from ..preprocessing import normalize
from ..training.networks import optimizer_of
from ..training.recipe import Recipe
from .candidates import Bounds, recipe_of, with_valid_default
from .dimensions import SPEC_FIELDS, UNITS_PER_STAGE
from .parameters import declare
from .space import Space
from .space import space as find_space

# Training choices that `HyperResNet` can search, and those of the space "all" that only `keras-resnet tune` can.
SUPPORTED = {
    *(UNITS_PER_STAGE, "model", "batch_size"),
    *("learning_rate", "momentum", "nesterov", "weight_decay", "schedule"),
}
UNSUPPORTED = ("label_smoothing", "randaugment", "mixup")


def _default_space(side: int) -> Space:
    """Returns the default space for images whose shorter side has `side` pixels; all its candidates can be built.

    It omits a width of 0.5, with which option A would drop channels, and stems that reduce the images to nothing.
    """
    stems = [stem for stem in find_space("all")["stem"].values if cifar_spec(20, stem=stem).total_stride <= side]
    return find_space("all", without=UNSUPPORTED, changes={"width": "1,2", "stem": ",".join(stems or ["cifar"])})


def _image_shape(shape: Any) -> tuple[int, int, int]:
    """Returns a shape of images as a tuple; raises ValueError if it is anything else."""
    sides = tuple(shape) if isinstance(shape, Sequence) else ()
    if len(sides) != 3 or not all(isinstance(side, Integral) and int(side) > 0 for side in sides):
        raise ValueError(f"`input_shape` must be three positive integers: height, width, channels. Received: {shape!r}")
    height, width, channels = map(int, sides)
    return height, width, channels


class HyperResNet(keras_tuner.HyperModel):
    """keras-tuner hypermodel of residual networks: depth, width, shortcut, order, skip, optimizer and schedule.

    It replaces `keras_tuner.applications.HyperResNet`: `keras_tuner.RandomSearch(HyperResNet(), ...)`. The networks are
    those of this package: CIFAR's end in feature maps of 8x8 pixels, they take raw images from 0 to 255, and the models
    that a search saves can be loaded. `keras-resnet tune` does more: it spends no trial on a network that is too large,
    augments as the papers do, and continues after a network that does not fit into memory.

    Args:
        input_shape: (height, width, channels).
        classes: number of classes.
        space: search space, as `keras_resnet.tuning.space.space` returns it, or the name that it takes. None for the
            network with learning rate, momentum, weight decay, batch size and schedule; all candidates of this space
            can be built. A space of your own may contain some that cannot, such as option A with a `width` below 1:
            each is a failed trial, and keras-tuner ends a search after three in a row (its
            `max_consecutive_failed_trials`). The default values, of which keras-tuner builds a network before the
            search, are those of the first candidate that can be built.
        recipe: recipe that all candidates have in common; None for the papers'. Its `model` is the network if the
            space has no "units_per_stage". Only its optimizer, batch size and schedule affect the training.
        mean: value subtracted from the images, one for each channel or one for all.

    Raises:
        ValueError: the space contains what `fit` alone does not do, such as augmentation; none of its candidates can
            be built; or the shape of the images is not three positive integers.
    """

    def __init__(
        self,
        input_shape: Sequence[int] = (32, 32, 3),
        classes: int = 10,
        space: Space | str | None = None,
        recipe: Recipe | None = None,
        mean: float | Sequence[float] = 127.5,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self.input_shape, self.classes = _image_shape(input_shape), classes
        # Replaces the length of the recipe's schedule, which `fit` sets.
        self.base = replace(recipe or Recipe(dataset=""), epochs=1, iterations=None)
        if space is None:
            space = _default_space(min(self.input_shape[:2]))
        elif not isinstance(space, Space):
            space = find_space(space)
        if unsupported := [row.name for row in space.dimensions if row.name not in SPEC_FIELDS | SUPPORTED]:
            raise ValueError(
                "`space` must not contain dimensions that only `keras-resnet tune` can search. "
                f"Received: {', '.join(unsupported)}"
            )
        self.space = with_valid_default(space, Bounds(self.base, self.classes, self.input_shape))
        self.mean = np.full(self.input_shape[-1], mean) if np.ndim(mean) == 0 else np.array(mean)

    def recipe(self, hp: keras_tuner.HyperParameters) -> Recipe:
        """Returns the recipe of a trial."""
        return recipe_of(self.base, declare(self.space, hp))

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Returns the compiled network of a trial, for integer labels; its output is probabilities, (batch, classes).

        Raises:
            keras_tuner.errors.FailedTrialError: the candidate cannot be built, such as option A where channels
                would be dropped.
        """
        image = keras.Input(self.input_shape, name="image")
        normalised = normalize(image, self.mean, None, "channels_last")
        try:
            recipe = self.recipe(hp)
            model = recipe.architecture(
                input_tensor=normalised, classes=self.classes, data_format="channels_last", **recipe.network
            )
        except ValueError as error:
            raise keras_tuner.errors.FailedTrialError(str(error)) from error
        model.compile(optimizer_of(recipe), "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    def fit(self, hp: keras_tuner.HyperParameters, model: keras.Model, *args: Any, **kwargs: Any) -> Any:
        """Fits the model with the batch size of the trial, and its learning-rate schedule over the epochs.

        Data that come in batches, such as a `tf.data.Dataset`, keep theirs.
        """
        epochs = kwargs.get("epochs", 1)
        recipe = replace(self.recipe(hp), epochs=epochs, iterations=epochs, warmup_iterations=None)
        # The rate just before an epoch's middle: a rising schedule begins the first epoch at zero, and at the middle
        # of a single epoch, as in Hyperband's shortest trials, the papers divide the rate by 10.
        scheduler = keras.callbacks.LearningRateScheduler(lambda epoch: recipe.rate(epoch + 0.5 - 1e-9))
        kwargs.setdefault("batch_size", recipe.batch_size)
        return model.fit(*args, **{**kwargs, "callbacks": [*(kwargs.get("callbacks") or []), scheduler]})
