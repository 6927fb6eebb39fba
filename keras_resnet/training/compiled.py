"""From a recipe to a compiled model."""

from __future__ import annotations

import keras

from ..data import Dataset, ImageStream
from ..models.catalog import find
from ..models.taps import taps
from ..preprocessing import subtract_mean
from .optimizer import SGD
from .recipe import Recipe
from .testing import Accuracy


def build(recipe: Recipe, data: Dataset | ImageStream) -> tuple[keras.Model, keras.Model]:
    """The network of a recipe behind the normalisation of its data.

    Returns:
        The model that takes raw images and gives probabilities, and the same model compiled for training: it ends in
        the logits, whose cross-entropy is exact. With a mean by channel, photographs may have any size.
    """
    shape = data.image_shape(recipe.size)
    any_size = recipe.mean == "channel" and recipe.size is not None
    image = keras.Input((None, None, shape[-1]) if any_size else shape, name="image")
    model = find(recipe.model)(
        input_tensor=subtract_mean(image, data.mean(recipe.mean, recipe.size)),
        classes=data.classes,
        data_format="channels_last",
        dtype=recipe.precision,
        **recipe.network,
    )
    trained = keras.Model(model.input, taps(model)["logits"], name=model.name)
    optimizer = sgd(recipe)
    if recipe.precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    return model, compiled(trained, optimizer, recipe)


def compiled(model: keras.Model, optimizer: keras.optimizers.Optimizer, recipe: Recipe) -> keras.Model:
    """Compiles a model that ends in logits for training."""
    model.compile(
        optimizer,
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing),
        weighted_metrics=[Accuracy(name="accuracy")],
    )
    nothing = keras.ops.zeros((1, model.output_shape[-1]))
    model.compute_metrics(None, nothing, nothing)  # makes the metrics' variables, which a checkpoint may be read into
    model.reset_metrics()
    return model


def sgd(recipe: Recipe) -> SGD:
    """The optimizer of a recipe."""
    return SGD(
        recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        coupled_decay=recipe.weight_decay,
        decayed=recipe.decayed,
        use_ema=recipe.ema > 0,
        ema_momentum=recipe.ema ** (1 / recipe.accumulate),  # Keras averages behind every part of a batch
        gradient_accumulation_steps=recipe.accumulate if recipe.accumulate > 1 else None,
    )
