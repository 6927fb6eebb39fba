"""What is left to do behind the last epoch of a run: the test of the network, its file, and the summary."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras

from .. import backend
from ..data import labels
from ..models.complexity import count
from ..models.freezing import unfreeze
from .batch_norm import reestimate
from .callbacks import StopTestOnRequest
from .feed import Feed
from .folder import RunFolder
from .interruption import StopRequest
from .metrics import percent_error
from .networks import Networks
from .progress import Bar


def finish(
    feed: Feed,
    networks: Networks,
    folder: RunFolder,
    history: list[dict[str, Any]],
    split: str,
    probed: dict[str, float],
    stop: StopRequest,
) -> dict[str, Any]:
    """Tests the network of the last epoch and writes what is left to write; `probed` is told beside its error.

    Raises:
        StoppedError: the run was asked to stop before it was tested; what is left is done when it goes on.
    """
    recipe, data, devices, logits_model = feed.recipe, feed.data, feed.devices, networks.logits_model
    optimizer = getattr(logits_model.optimizer, "inner_optimizer", logits_model.optimizer)
    optimizer.take_averages(logits_model.trainable_variables)
    end = StopTestOnRequest(stop, devices, f"before the last test, and the run is saved behind epoch {recipe.epochs}")
    results = _test(feed, logits_model, split, end)
    if recipe.reestimate:
        results = {f"{name}_by_moving_averages": value for name, value in results.items()}
        reestimate(logits_model, devices.feed(partial(feed.training_batches, recipe.epochs, 0)), feed.steps, [end])
        results = {**_test(feed, logits_model, split, end), **results}
    summary = _summary(feed, history, split, {**results, **probed})
    info = {
        "model": recipe.model,
        "network": recipe.network,
        "dataset": recipe.dataset,
        **labels.class_info(data.class_names),
        "input": "raw images, 0 to 255",
        **({"view": {"size": recipe.test_size, "resize": recipe.test_resize}} if recipe.test_size else {}),
        **{key: summary[key] for key in (f"{split}_error", "epochs", "versions", "seed")},
    }
    unfreeze(networks.model)  # a frozen network would come as a surprise to whoever trains the file
    with devices.fail_together(), devices.saving_scope(logits_model):
        folder.write_history(history, last=True)  # whether this process trained the last epoch or not
        folder.write_result(networks.model, info, summary)
    return summary


def _test(feed: Feed, logits_model: keras.Model, split: str, end: StopTestOnRequest) -> dict[str, float]:
    batches = len(feed.test_batches)
    tested, bar = feed.devices.feed_test(feed.test_batches), Bar("Testing", batches)
    result = logits_model.evaluate(tested, steps=batches, callbacks=[bar, end], verbose=0, return_dict=True)
    return {f"{split}_error": percent_error(result["accuracy"]), f"{split}_loss": float(result["loss"])}


def _summary(feed: Feed, history: list[dict[str, Any]], split: str, results: dict[str, float]) -> dict[str, Any]:
    recipe, data, devices = feed.recipe, feed.data, feed.devices
    cost = count(recipe.spec, data.classes, data.image_shape(recipe.size))
    seconds = sum(row["seconds"] for row in history)
    return {
        "model": recipe.model,
        "dataset": recipe.dataset,
        "epochs": recipe.epochs,
        **results,
        f"{split}_images": data.test_count,
        "train_error": history[-1]["train_error"],
        "parameters": cost.parameters,
        "macs": cost.macs,
        "seconds": round(seconds, 1),
        "images_per_second": round(recipe.epochs * feed.images_per_epoch / seconds, 1),
        "backend": keras.backend.backend(),
        "device": backend.device(devices.replicas),
        "devices": devices.replicas,
        "processes": devices.processes,
        "versions": backend.versions(),
        "seed": recipe.seed,
    }
