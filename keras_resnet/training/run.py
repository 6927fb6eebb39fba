"""One training run, from a recipe to a folder."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from .. import backend, saving
from ..data import DATASETS, Dataset, TrainingBatches, load, steps_per_epoch
from ..models.catalog import find
from ..models.complexity import count
from ..models.taps import taps
from ..preprocessing import subtract_mean
from .callbacks import Bookkeeper, StopAtNaN, percent_error
from .folder import Progress, RunFolder
from .interruption import StopRequest, stop_request
from .learning_rate import LearningRate
from .machine import Machine
from .optimizer import SGD
from .recipe import Recipe

TEST_BATCH = 500


def train(
    recipe: Recipe, out: str | Path, say: Callable[[str], None] = print, machine: Machine | None = None
) -> dict[str, Any]:
    """Trains a network and leaves a run folder; goes on where an earlier call with the same folder stopped.

    Args:
        recipe: what to train, on what and how.
        out: the run's folder, see `keras_resnet.training.folder`.
        say: what is told to the user, a line at a time; Keras's progress bar goes to the standard output.
        machine: what this machine decides; None for the defaults.

    Returns:
        What `summary.json` holds: the error of the LAST epoch among it.

    Raises:
        ValueError: a folder that holds another run or that another process trains in, data that is not there, a
            network that does not fit the data.
        DivergedError: the loss became NaN; the last good checkpoint is kept.
        StoppedError: a signal asked the run to stop; it is saved at the step it was at.
    """
    folder = RunFolder(out)
    data = load(recipe.dataset, recipe.data_dir)
    split = "test"
    if recipe.validation:
        data, split = data.hold_out(recipe.validation, seed=recipe.seed), "validation"
    row = DATASETS[recipe.dataset]
    steps = steps_per_epoch(len(data.x_train), recipe.batch_size)
    recipe = recipe.resolve(steps, {"mean": "pixel", "pad": row.pad, "flip": row.flip, "cutout": 0})
    folder.check(recipe)
    if (summary := folder.finished()) is not None:
        say(f"This run has ended already; what it left is in {folder.path}")
        return summary

    with backend.quietly():
        keras.utils.set_random_seed(recipe.seed)
    model, trained = build(recipe, data)
    with folder.held():
        folder.check(recipe)  # again: another process may have begun in the meantime
        folder.begin(recipe)
        progress = folder.restore(trained, say)
        if progress.history or progress.step:
            say(f"Going on behind {progress} of {recipe.epochs}.")
        with stop_request() as stop:
            fit(recipe, data, trained, folder, progress, split, machine or Machine(), stop)
        return finish(recipe, data, model, trained, folder, progress.history, split)


def build(recipe: Recipe, data: Dataset) -> tuple[keras.Model, keras.Model]:
    """The network of a recipe behind the normalisation of its data.

    Returns:
        The model that takes raw images and gives probabilities, and the same model compiled for training: it ends in
        the logits, whose cross-entropy is exact.
    """
    image = keras.Input(data.image_shape(), name="image")
    model = find(recipe.model)(
        input_tensor=subtract_mean(image, data.mean_image),
        classes=data.classes,
        data_format="channels_last",
        dtype=recipe.precision,
        **recipe.network,
    )
    trained = keras.Model(model.input, taps(model)["logits"], name=model.name)
    optimizer = SGD(
        recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        coupled_decay=recipe.weight_decay,
        decayed=recipe.decayed,
        use_ema=recipe.ema > 0,
        ema_momentum=recipe.ema,
    )
    if recipe.precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    trained.compile(
        optimizer,
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
    )
    nothing = keras.ops.zeros((1, data.classes))
    trained.compute_metrics(None, nothing, nothing)  # makes the metrics' variables, which a checkpoint may be read into
    trained.reset_metrics()
    return model, trained


def fit(
    recipe: Recipe,
    data: Dataset,
    trained: keras.Model,
    folder: RunFolder,
    progress: Progress,
    split: str,
    machine: Machine,
    stop: StopRequest,
) -> None:
    """The steps that are left, by `model.fit` and callbacks."""
    batches = TrainingBatches(
        images=data.x_train,
        labels=_one_hot(data.y_train, data),
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        pad=recipe.pad,
        flip=recipe.flip,
        fill=data.mean_color,
        cutout=recipe.cutout,
    )
    rate = LearningRate(recipe, len(batches), progress)
    sound = StopAtNaN(split)
    books = Bookkeeper(folder, progress, rate, sound, epochs=recipe.epochs, save_every=machine.save_every, stop=stop)
    averages = [keras.callbacks.SwapEMAWeights()] if recipe.ema else []
    for first, last in _legs(progress, recipe.epochs):
        trained.fit(
            batches.stream(first, progress.step),
            steps_per_epoch=len(batches) - progress.step,
            initial_epoch=first,
            epochs=last,
            validation_data=(data.x_test, _one_hot(data.y_test, data)),
            validation_batch_size=TEST_BATCH,
            callbacks=[rate, sound, books, *averages],
            shuffle=False,  # the batches come shuffled
            verbose=1 if sys.stdout.isatty() else 2,
        )


def _legs(progress: Progress, epochs: int) -> Iterator[tuple[int, int]]:
    """The epochs of each `fit`, the first and the one behind the last.

    What is left of an epoch is a `fit` of its own, for all epochs of one have as many steps.
    """
    first = len(progress.history)
    if progress.step:
        yield first, first + 1
        first += 1
    if first < epochs:
        yield first, epochs


def _one_hot(labels: np.ndarray, data: Dataset) -> np.ndarray:
    return np.eye(data.classes, dtype="float32")[labels]


def _images_per_epoch(recipe: Recipe, data: Dataset) -> int:
    total = len(data.x_train)
    return min(total, steps_per_epoch(total, recipe.batch_size) * recipe.batch_size)


def finish(
    recipe: Recipe,
    data: Dataset,
    model: keras.Model,
    trained: keras.Model,
    folder: RunFolder,
    history: list[dict[str, Any]],
    split: str,
) -> dict[str, Any]:
    """Tests the network of the last epoch and writes what is left to write."""
    optimizer = getattr(trained.optimizer, "inner_optimizer", trained.optimizer)
    optimizer.take_averages(trained.trainable_variables)
    result = trained.evaluate(
        data.x_test, _one_hot(data.y_test, data), batch_size=TEST_BATCH, verbose=0, return_dict=True
    )
    cost = count(recipe.spec, data.classes, data.image_shape())
    seconds = sum(row["seconds"] for row in history)
    summary = {
        "model": recipe.model,
        "dataset": recipe.dataset,
        "epochs": recipe.epochs,
        f"{split}_error": percent_error(result["accuracy"]),
        f"{split}_loss": float(result["loss"]),
        f"{split}_images": len(data.x_test),
        "train_error": history[-1]["train_error"],
        "parameters": cost.parameters,
        "macs": cost.macs,
        "seconds": round(seconds, 1),
        "images_per_second": round(recipe.epochs * _images_per_epoch(recipe, data) / seconds, 1),
        "backend": keras.backend.backend(),
        "device": backend.device(),
        "versions": backend.versions(),
        "seed": recipe.seed,
    }
    info = {
        "model": recipe.model,
        "dataset": recipe.dataset,
        "class_names": list(data.class_names),
        "input": "raw images, 0 to 255",
        **{key: summary[key] for key in (f"{split}_error", "epochs", "versions", "seed")},
    }
    saving.save(model, folder.model, info)
    saving.write_json(folder.summary, summary)
    return summary
