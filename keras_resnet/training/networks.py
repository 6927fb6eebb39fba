"""Builds the compiled network of a recipe."""

from __future__ import annotations

from dataclasses import dataclass

import keras

from .. import backend
from ..data import LabelledImages, TrainingBatches
from ..models.freezing import freeze
from ..models.taps import to_logits
from ..preprocessing import normalize
from ..weights import Pretrained
from .augmentation import augmented
from .device_images import DeviceImages
from .learning_rate import rate_or_schedule
from .machine import Machine
from .metrics import Accuracy
from .optimizer import SGD, Muon
from .recipe import Recipe
from .transfer import matches_classes, normalisation
from .unit_sequence import split_into_units


@dataclass(frozen=True)
class Networks:
    """Three models of one network that share their variables.

    Attributes:
        model: maps raw images to probabilities; the result of a run.
        logits_model: maps raw images to logits, whose cross-entropy is exact; tested, and saved in checkpoints.
        training_model: `logits_model` preceded by the recipe's augmentation, perhaps split into units; trained by
            `fit`.
    """

    model: keras.Model
    logits_model: keras.Model
    training_model: keras.Model


def build(
    recipe: Recipe,
    data: LabelledImages,
    machine: Machine | None = None,
    weights: Pretrained | None = None,
    batches: TrainingBatches | None = None,
) -> Networks:
    """Builds the network of a recipe, with the normalisation of its images, compiled for training.

    With a mean by channel, photographs may have any size.

    Args:
        recipe: a resolved recipe.
        data: the data set that it is trained on.
        machine: the settings of this machine.
        weights: the initial weights, except for the dense layer if the classes differ; None for random weights.
        batches: the training batches, if their images are to be stored on the device; else None.

    Raises:
        ValueError: the data do not support an augmentation, the weights do not fit, or images of several sizes are
            used with a mean by pixel.
    """
    shape = data.image_shape(recipe.size)
    mean, deviation = normalisation(recipe, data, weights)
    if mean.ndim == 3:
        for name in ("size", "test_size", "first_size"):
            if getattr(recipe, name) not in (None, len(mean)):
                raise ValueError(
                    f"`{name}` must be {len(mean)}, the size of the mean by pixel. Received: {getattr(recipe, name)}. "
                    "Choose --mean channel for other sizes."
                )
    any_size = mean.ndim == 1 and recipe.size is not None
    image = keras.Input((None, None, shape[-1]) if any_size else shape, name="image")
    model = recipe.architecture(
        input_tensor=normalize(image, mean, deviation),
        classes=data.classes,
        data_format="channels_last",
        dtype=recipe.precision,
        **recipe.network,
    )
    if weights is not None:
        weights.assign_to(model, head=matches_classes(weights, data))
    if recipe.freeze_until is not None:
        freeze(model, recipe.freeze_until)
    logits_model = to_logits(model)
    optimizer = optimizer_of(recipe)
    if recipe.precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    # Otherwise TensorFlow would create the optimizer's variables within the training step, and trace the step twice.
    optimizer.build(logits_model.trainable_variables)
    machine = machine or Machine()
    training_network = logits_model
    if machine.rematerialize or machine.loop_units:
        training_network = split_into_units(logits_model, rematerialize=machine.rematerialize, loop=machine.loop_units)
    images = None if batches is None else DeviceImages(batches)
    training_model = augmented(training_network, recipe, mean.reshape(-1, shape[-1]).mean(axis=0), images)
    for each in dict.fromkeys((logits_model, training_model)):
        compile_for(each, optimizer, recipe, data.classes)
    return Networks(model, logits_model, training_model)


def compile_for(model: keras.Model, optimizer: keras.optimizers.Optimizer, recipe: Recipe, classes: int) -> None:
    """Compiles a model whose outputs are logits for training."""
    if backend.jit_compile() is True:
        for layer in model._flatten_layers():  # else a layer that TensorFlow cannot compile stops all compilation
            layer.supports_jit = True
    model.compile(
        optimizer,
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing),
        weighted_metrics=[Accuracy(name="accuracy")],
        jit_compile=backend.jit_compile(),
    )
    # Builds loss and metrics, so that a checkpoint can be read into their variables. Otherwise Keras would take a batch
    # to build them, which would be missing in a test whose images come from several threads.
    zeros = keras.ops.zeros((1, classes))
    model.compute_loss(None, zeros, zeros, training=False)
    model.compute_metrics(None, zeros, zeros)
    model.reset_metrics()


def optimizer_of(recipe: Recipe) -> SGD:
    """Returns the optimizer of a recipe."""
    arguments = {
        "momentum": recipe.momentum,
        "nesterov": recipe.nesterov,
        "coupled_decay": recipe.weight_decay,
        "decayed": recipe.decayed,
        "use_ema": recipe.ema > 0,
        "ema_momentum": recipe.ema ** (1 / recipe.accumulate),  # Keras averages after every part of a batch
        "gradient_accumulation_steps": recipe.accumulate if recipe.accumulate > 1 else None,
    }
    if recipe.optimizer == "sgd":
        return SGD(rate_or_schedule(recipe), **arguments)
    return Muon(
        rate_or_schedule(recipe),
        kernel_rate=recipe.kernel_rate,
        kernel_momentum=recipe.kernel_momentum,
        highest_rate=recipe.learning_rate,
        precision="bfloat16" if recipe.precision == "mixed_bfloat16" else "float32",
        **arguments,
    )
