"""One training run, from a recipe to a folder."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from .. import backend
from ..backend.devices import Devices
from ..data import DATASETS, Dataset, TrainingBatches, load, steps_per_epoch
from ..models.catalog import find
from ..models.complexity import count
from ..models.taps import taps
from ..preprocessing import subtract_mean
from .callbacks import Bookkeeper, LearningRate, StopAtNaN, percent_error
from .folder import RunFolder
from .machine import Machine
from .optimizer import SGD
from .recipe import Recipe
from .testing import Accuracy, tested

TEST_BATCH = 500


def train(
    recipe: Recipe, out: str | Path, say: Callable[[str], None] = print, machine: Machine | None = None
) -> dict[str, Any]:
    """Trains a network and leaves a run folder; goes on where an earlier call with the same folder stopped.

    Of a run of several processes each makes this call; the chief alone writes and says something.

    Args:
        recipe: what to train, on what and how.
        out: the run's folder, see `keras_resnet.training.folder`; the same one for all processes.
        say: what is told to the user, a line at a time; Keras's progress bar goes to the standard output.
        machine: what the machine decides, such as the number of devices.

    Returns:
        What `summary.json` holds: the error of the LAST epoch among it.

    Raises:
        ValueError: a folder that holds another run or that another process trains in, data that is not there, a
            network that does not fit the data, devices that are not there or do not divide a batch.
        DivergedError: the loss became NaN; the checkpoint of the epoch before is kept.
    """
    devices = backend.devices((machine or Machine()).devices)
    folder = RunFolder(out, writes=devices.chief)
    say = say if devices.chief else lambda line: None
    data = devices.in_turn(lambda: load(recipe.dataset, recipe.data_dir))
    split = "test"
    with devices.agreed():
        if recipe.validation:
            data, split = data.hold_out(recipe.validation, seed=recipe.seed), "validation"
        row = DATASETS[recipe.dataset]
        steps = steps_per_epoch(len(data.x_train), recipe.batch_size)
        recipe = recipe.resolve(steps, pad=row.pad, flip=row.flip)
        devices.check_batch(min(recipe.batch_size, len(data.x_train)))
        folder.check(recipe)
        summary = folder.finished()
    if summary is not None:
        say(f"This run has ended already; what it left is in {folder.path}")
        return summary

    with backend.quietly():
        keras.utils.set_random_seed(recipe.seed)
    with devices.scope(), contextlib.ExitStack() as until_the_end:
        model, trained = build(recipe, data)
        with devices.agreed():
            until_the_end.enter_context(folder.held())
            folder.check(recipe)  # again: another process may have begun in the meantime
            folder.begin(recipe)
        resumed = resume(trained, folder, devices, say)
        history = resumed["history"]
        if history:
            say(f"Going on behind epoch {len(history)} of {recipe.epochs}.")
        fit(recipe, data, trained, folder, history, resumed["state"], split, devices)
        return finish(recipe, data, model, trained, folder, history, split, devices)


def build(recipe: Recipe, data: Dataset) -> tuple[keras.Model, keras.Model]:
    """The network of a recipe behind the normalisation of its data.

    Returns:
        The model that takes raw images and gives probabilities, and the same model compiled for training: it ends in
        the logits, whose cross-entropy is exact.
    """
    image = keras.Input(data.image_shape, name="image")
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
        weighted_metrics=[Accuracy(name="accuracy")],
    )
    return model, trained


def resume(trained: keras.Model, folder: RunFolder, devices: Devices, say: Callable[[str], None]) -> dict[str, Any]:
    """Takes the model of every process back to where the run stopped, and has them train as one.

    Raises:
        ValueError: no checkpoint fits, or not all processes see the same one.
    """
    with devices.agreed():
        resumed = folder.restore(trained, say) or {"history": [], "state": {}}
    epochs = devices.gather(str(len(resumed["history"])))
    if len(set(epochs)) > 1:
        raise ValueError(
            f"The processes see different checkpoints in {str(folder.path)!r}, of epochs {', '.join(epochs)}. "
            "Choose a folder with --out that all of them share."
        )
    devices.prepare(trained)
    return resumed


def fit(
    recipe: Recipe,
    data: Dataset,
    trained: keras.Model,
    folder: RunFolder,
    history: list[dict[str, Any]],
    state: dict[str, Any],
    split: str,
    devices: Devices,
) -> None:
    """The epochs that are left, by `model.fit` and callbacks."""
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
    first = len(history)
    rate = LearningRate(recipe, len(batches), state.get("warming"))
    callbacks = [rate, StopAtNaN(split), Bookkeeper(folder, rate, history, split, devices)]
    if recipe.ema:
        callbacks.append(keras.callbacks.SwapEMAWeights())
    test = tested(data.x_test, _one_hot(data.y_test, data), devices, TEST_BATCH)
    trained.fit(
        devices.feed(lambda: _share(batches.stream(start_epoch=first), devices)),
        steps_per_epoch=len(batches),
        epochs=recipe.epochs,
        initial_epoch=first,
        validation_data=test.arrays,
        validation_batch_size=test.batch_size,
        callbacks=callbacks,
        shuffle=False,  # the batches come shuffled
        verbose=(1 if sys.stdout.isatty() else 2) if devices.chief else 0,
    )


def _share(
    batches: Iterator[tuple[np.ndarray, np.ndarray]], devices: Devices
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """This process's part of every global batch."""
    for images, labels in batches:
        size = len(images) // devices.processes
        part = slice(devices.process * size, (devices.process + 1) * size)
        yield images[part], labels[part]


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
    devices: Devices,
) -> dict[str, Any]:
    """Tests the network of the last epoch and writes what is left to write."""
    test = tested(data.x_test, _one_hot(data.y_test, data), devices, TEST_BATCH)
    arrays = dict(zip(("x", "y", "sample_weight"), test.arrays, strict=False))  # weights are not always there
    result = trained.evaluate(**arrays, batch_size=test.batch_size, verbose=0, return_dict=True)
    cost = count(recipe.spec, data.classes, data.image_shape)
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
        "devices": devices.replicas,
        "processes": devices.processes,
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
    with devices.agreed(), devices.for_saving(trained):
        folder.write_result(model, info, summary)
    return summary
