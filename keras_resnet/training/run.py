"""One training run, from a recipe to a folder."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import keras

from .. import backend
from ..backend.devices import Devices
from ..data import DATASETS, SIZE, LabelledImages, load, steps_per_epoch
from ..weights import Pretrained
from .callbacks import RunRecorder, StepsPerExecution, StopAfterEpoch, StopOnDivergence, raise_if_stopped
from .ending import finish
from .errors import DivergedError
from .feed import Feed
from .folder import Progress, RunFolder, seed_variables
from .interruption import StopRequest, stop_request
from .learning_rate import LearningRate
from .machine import Machine
from .networks import Networks, build
from .profiling import Profile
from .progress import Bar
from .recipe import Recipe
from .transfer import PROBE, defaults, probe_recipe, read_weights

PROFILE = "profile"  # the folder that a profile is left in


def train(
    recipe: Recipe, out: str | Path, say: Callable[[str], None] = print, machine: Machine | None = None
) -> dict[str, Any]:
    """Trains a network and leaves a run folder; goes on where an earlier call with the same folder stopped.

    Of a run of several processes each makes this call; the chief alone writes and says something.

    Args:
        recipe: what to train, on what and how.
        out: the run's folder, see `keras_resnet.training.folder`; the same one for all processes.
        say: what is told to the user, a line at a time; Keras's progress bar goes to the standard output.
        machine: what this machine decides, such as the number of devices; None for the defaults.

    Returns:
        What `summary.json` holds: the error of the LAST epoch among it.

    Raises:
        ValueError: a folder that holds another run or that another process trains in, data that is not there, a
            network that does not fit the data, devices that are not there or do not divide a batch.
        DivergedError: the loss became NaN; the last good checkpoint is kept.
        StoppedError: a signal asked the run to stop, behind the loading of its data; it is saved at the step it was at.
    """
    machine = machine or Machine()
    devices = backend.devices(machine.devices, spread=_spreads(recipe, machine))
    folder = RunFolder(out, writes=devices.chief)
    say = say if devices.chief else lambda line: None
    data = devices.chief_first(lambda: load(recipe.dataset, recipe.data_dir))
    weights = devices.chief_first(lambda: read_weights(recipe, folder))
    split = "test"
    with devices.fail_together():
        if recipe.validation:
            data, split = data.hold_out(recipe.validation, seed=recipe.seed), "validation"
        if recipe.images is not None:
            data = data.take(recipe.images)
        steps = steps_per_epoch(data.train_count, recipe.batch_size)
        recipe = recipe.resolve(steps, defaults(recipe, data, weights), weights and weights.layout)
        devices = devices.for_batch(min(recipe.batch_size, data.train_count) // recipe.accumulate)
        _check(recipe, data, devices, machine)
        feed = Feed(recipe, data, devices, machine)
        folder.check(recipe)
        summary = folder.finished()
    if summary is not None:
        say(f"This run has ended already; what it left is in {folder.path}")
        return summary
    with stop_request() as stop:
        return _run(feed, folder, weights, split, stop, say)


def _run(
    feed: Feed,
    folder: RunFolder,
    weights: Pretrained | None,
    split: str,
    stop: StopRequest,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """The run itself, of a recipe that is resolved and data that is there; see `train`."""
    recipe, devices, machine = feed.recipe, feed.devices, feed.machine
    probe = probe_recipe(recipe)
    with backend.silenced():
        keras.utils.set_random_seed(recipe.seed)
    with devices.scope():
        whole = replace(recipe, freeze_until=None) if probe else recipe
        networks = build(whole, feed.data, machine, weights, feed.batches)
    raise_if_stopped(stop, devices, "before the run had begun")
    with contextlib.ExitStack() as until_the_end:
        with devices.fail_together():
            until_the_end.enter_context(folder.lock())
            folder.begin(recipe)
        probed = _probe(probe, folder.path / PROBE, say, machine, split) if probe else {}
        until_the_end.enter_context(devices.scope())
        if probe:
            read_weights(replace(recipe, weights=str(folder.path / PROBE))).give_to(networks.model)
        progress = resume(networks, folder, devices, say)
        if progress.history or progress.step:
            say(f"Going on behind {progress} of {recipe.epochs}.")
        say(" ".join(filter(None, (f"Trains on {backend.device(devices.replicas)}.", backend.unused_gpu_hint()))))
        until_the_end.enter_context(feed.raising_original_errors())
        raise_if_stopped(stop, devices, f"and the run is saved behind {progress}")
        fit(feed, networks, folder, progress, split, stop, say)
        return finish(feed, networks, folder, progress.history, split, probed, stop)


def _probe(probe: Recipe, out: Path, say: Callable[[str], None], machine: Machine, split: str) -> dict[str, float]:
    """The run before a run; returns the error that it ended with."""
    say(f"First a probe: up to {probe.freeze_until}, the network keeps its weights, epochs: {probe.epochs}.")
    try:
        error = train(probe, out, say, machine)[f"{split}_error"]
    except DivergedError as diverged:
        diverged.probe = True
        raise
    with backend.silenced():
        keras.utils.set_random_seed(probe.seed)  # the same, whether the probe was trained now or lay there
    say(f"{error:.2f} % {split} error behind the probe. Now all of the network learns.")
    return {f"probe_{split}_error": error}


def _spreads(recipe: Recipe, machine: Machine) -> bool:
    """Whether its steps are shorter where each core takes a part of a batch, see `benchmarks/NOTES.md`."""
    row = DATASETS.get(recipe.dataset)
    side = recipe.size or (row.side if row else SIZE)
    alone = machine.images_on_device or machine.steps_per_execution > 1
    return recipe.spec.unit == "basic" and side >= 32 and not alone


def _check(recipe: Recipe, data: LabelledImages, devices: Devices, machine: Machine) -> None:
    """Finds what cannot work before the work begins.

    Raises:
        ValueError: it cannot.
    """
    devices.check_batch(min(recipe.batch_size, data.train_count) // recipe.accumulate)
    if recipe.accumulate > 1 and recipe.batch_size > data.train_count:
        raise ValueError(
            f"`accumulate` needs a whole batch of {recipe.batch_size} images. Received: {data.train_count} of them"
        )
    if machine.loop_units and not devices.supports_loops:
        raise ValueError(
            f"`loop_units` works on one device on this backend. Received: {devices.replicas} devices. "
            "Choose --devices 1, or --backend jax."
        )
    if recipe.accumulate > 1 and not devices.supports_accumulation:
        raise ValueError(
            f"`accumulate` works on one device on this backend. Received: {devices.replicas} devices. "
            "Choose --devices 1, or --backend jax."
        )
    alone = {"steps_per_execution": machine.steps_per_execution > 1, "images_on_device": machine.images_on_device}
    for name in (name for name, asked in alone.items() if asked):
        if devices.replicas > 1:
            raise ValueError(f"`{name}` works on one device. Received: {devices.replicas} devices. Choose --devices 1.")
    if machine.images_on_device and not data.in_memory:
        raise ValueError(f"`images_on_device` takes images that lie in memory. Those of {recipe.dataset} do not.")
    if machine.steps_per_execution > 1 and recipe.waits_for_error:
        raise ValueError(
            "`steps_per_execution` must be 1 where the rate of a step hangs on the errors before it, as in this "
            "recipe's warm-up. Choose --warmup-iterations 400 to say how long it is, or --warmup-rate 0 for none."
        )
    if machine.steps_per_execution > 1 and recipe.schedule == "plateau" and (recipe.rise or recipe.warmup_iterations):
        raise ValueError(
            "`steps_per_execution` must be 1 where a rate that is not known beforehand rises from step to step. "
            "Choose --rise 0 and no --warmup-iterations, or another --schedule."
        )


def resume(networks: Networks, folder: RunFolder, devices: Devices, say: Callable[[str], None]) -> Progress:
    """Takes the networks of every process back to where the run stopped, and has them train as one.

    Raises:
        ValueError: no checkpoint fits, or not all processes see the same one.
    """
    with devices.fail_together():
        progress = folder.restore(networks.logits_model, seed_variables(networks.training_model), say)
    seen = devices.gather(str(progress))
    if len(set(seen)) > 1:
        raise ValueError(
            f"The processes see different checkpoints in {str(folder.path)!r}, behind {', '.join(seen)}. "
            "Choose a folder with --out that all of them share."
        )
    devices.prepare(networks.logits_model, networks.training_model)
    return progress


def fit(
    feed: Feed,
    networks: Networks,
    folder: RunFolder,
    progress: Progress,
    split: str,
    stop: StopRequest,
    say: Callable[[str], None] = print,
) -> None:
    """The steps that are left, by `model.fit` and callbacks."""
    recipe, devices = feed.recipe, feed.devices
    profiled = feed.machine.profile and devices.chief
    profiles = [Profile(folder.path / PROFILE, say)] if profiled else []
    executions = StepsPerExecution(feed.machine.steps_per_execution)
    rate = LearningRate(recipe, feed.steps, progress)
    sound = StopOnDivergence(split)
    books = RunRecorder(
        folder,
        progress,
        rate,
        sound,
        devices,
        logits_model=networks.logits_model,
        epochs=recipe.epochs,
        save_every=feed.machine.save_every,
        stop=stop,
    )

    def batches(*stretch: int) -> Iterator[Any]:
        return backend.mark_waiting(feed.fit_batches(*stretch)) if profiled else feed.fit_batches(*stretch)

    bar = Bar("Testing", len(feed.test_batches))
    averages = [keras.callbacks.SwapEMAWeights()] if recipe.ema else []
    for first, last in _legs(progress, recipe):
        executions.prepare(networks.training_model, feed.steps - progress.step, recipe.size_in(first))
        networks.training_model.fit(
            devices.feed(partial(batches, first, progress.step, last)),  # Keras looks at two, of one shape
            steps_per_epoch=feed.steps - progress.step,
            initial_epoch=first,
            epochs=recipe.epochs,
            validation_data=devices.feed_test(feed.test_batches),
            validation_steps=len(feed.test_batches),
            callbacks=[executions, rate, sound, books, bar, *averages, *profiles, StopAfterEpoch(last)],
            shuffle=False,  # the batches come shuffled
            verbose=(1 if sys.stdout.isatty() else 2) if devices.chief else 0,
        )
    for profile in profiles:
        profile.end()


def _legs(progress: Progress, recipe: Recipe) -> Iterator[tuple[int, int]]:
    """The epochs of each `fit`, the first and the one behind the last.

    What is left of an epoch is a `fit` of its own, for all epochs of one have as many steps; and so are the epochs of
    each size of the images, for all batches of one have one shape.
    """
    first = len(progress.history)
    ends = {epoch for epoch in range(1, recipe.epochs) if recipe.size_in(epoch) != recipe.size_in(epoch - 1)}
    ends |= {recipe.epochs, *((first + 1,) if progress.step else ())}
    for last in sorted(end for end in ends if end > first):
        yield first, last
        first = last
