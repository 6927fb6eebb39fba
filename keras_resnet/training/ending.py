"""The steps of a run after its last epoch: the final test, the model file and the summary."""

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
from .context import RunContext
from .feed import Feed
from .metrics import percent_error
from .networks import Networks
from .progress_bar import Bar


def finish(
    context: RunContext, networks: Networks, history: list[dict[str, Any]], probe_results: dict[str, float]
) -> dict[str, Any]:
    """Tests the network of the last epoch and writes the history, the model file and the summary.

    Args:
        context: what the steps of the run share; its folder is locked.
        networks: the network, after its last epoch.
        history: a row for each epoch.
        probe_results: results of the probe, which are added to the summary.

    Returns:
        The summary.

    Raises:
        StoppedError: the run is asked to stop before its test has ended; the test is repeated when it is resumed.
    """
    feed, recipe, devices, logits_model = context.feed, context.recipe, context.devices, networks.logits_model
    data, split = feed.data, feed.split
    optimizer = getattr(logits_model.optimizer, "inner_optimizer", logits_model.optimizer)
    optimizer.take_averages(logits_model.trainable_variables)
    state = f"the run is saved after epoch {feed.epochs}, without its final test"
    stop_callback = StopTestOnRequest(context.stop, devices, state)
    results = _test(feed, logits_model, stop_callback)
    if recipe.reestimate:
        results = {f"{name}_by_moving_averages": value for name, value in results.items()}
        batches = devices.feed(partial(feed.training_batches, feed.epochs, 0))
        reestimate(logits_model, batches, feed.steps, [stop_callback])
        results = {**_test(feed, logits_model, stop_callback), **results}
    summary = _summary(feed, history, {**results, **probe_results})
    info = {
        "model": recipe.model,
        "network": recipe.network,
        "dataset": recipe.dataset,
        **labels.class_info(data.class_names),
        "input": "raw images, 0 to 255",
        **({"view": {"size": recipe.test_size, "resize": recipe.test_resize}} if recipe.test_size else {}),
        **{key: summary[key] for key in (f"{split}_error", "epochs", "versions", "seed")},
    }
    unfreeze(networks.model)  # nobody who trains the saved model expects frozen layers
    with devices.fail_together(), devices.saving_scope(logits_model):
        context.folder.write_history(history, last=True)  # also if the run is resumed after its last epoch
        context.folder.write_result(networks.model, info, summary)
    return summary


def _test(feed: Feed, logits_model: keras.Model, stop_callback: StopTestOnRequest) -> dict[str, float]:
    steps = len(feed.test_batches)
    batches, bar = feed.devices.feed_test(feed.test_batches), Bar("Testing", steps)
    result = logits_model.evaluate(batches, steps=steps, callbacks=[bar, stop_callback], verbose=0, return_dict=True)
    return {
        f"{feed.split}_error": percent_error(result["accuracy"]),
        f"{feed.split}_loss": feed.test_batches.mean_loss(float(result["loss"])),
    }


def _summary(feed: Feed, history: list[dict[str, Any]], results: dict[str, float]) -> dict[str, Any]:
    recipe, data, devices = feed.recipe, feed.data, feed.devices
    cost = count(recipe.spec, data.classes, data.image_shape(recipe.size))
    seconds = sum(row["seconds"] for row in history)
    return {
        "model": recipe.model,
        "dataset": recipe.dataset,
        "epochs": feed.epochs,
        **results,
        f"{feed.split}_images": feed.test_batches.tested(),
        "train_error": history[-1]["train_error"],
        "parameters": cost.parameters,
        "macs": cost.macs,
        "seconds": round(seconds, 1),
        "images_per_second": round(feed.epochs * feed.images_per_epoch / seconds, 1),
        "backend": keras.backend.backend(),
        "device": backend.device(devices.replicas),
        "devices": devices.replicas,
        "processes": devices.processes,
        "versions": backend.versions(),
        "seed": recipe.seed,
    }
