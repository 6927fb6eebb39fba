"""One training run, from a recipe to a folder."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import keras

from .. import backend
from ..backend.devices import Devices
from ..data import DATASETS, SIZE, load, steps_per_epoch
from ..weights import Pretrained, read
from .callbacks import RunRecorder, StepsPerExecution, StopAfterEpoch, StopOnDivergence, raise_if_stopped
from .checks import check, selected
from .context import RunContext
from .ending import finish
from .errors import DivergedError
from .feed import Feed
from .folder import Progress, RunFolder, seed_variables
from .interruption import NOT_BEGUN, StopRequest, stop_request
from .learning_rate import LearningRate
from .machine import Machine
from .networks import Networks, build
from .profiling import Profile
from .progress_bar import Bar
from .recipe import Recipe
from .testing import MeanTestLoss
from .transfer import PROBE, defaults, probe_recipe, read_weights

PROFILE = "profile"  # folder of the profile, within the run's folder


def train(
    recipe: Recipe, out: str | Path, say: Callable[[str], None] = print, machine: Machine | None = None
) -> dict[str, Any]:
    """Trains a network and writes a run folder; resumes if an earlier call with the same folder was interrupted.

    In a run of several processes, every process makes this call; only the chief writes files and reports.

    Args:
        recipe: what to train, on which data and how.
        out: the run's folder, see `keras_resnet.training.folder`; the same for all processes.
        say: called with each line reported to the user; Keras's progress bar goes to the standard output.
        machine: settings of this machine, such as the number of devices; None for the defaults.

    Returns:
        The contents of `summary.json`, among them the error of the LAST epoch.

    Raises:
        ValueError: the folder holds another run or is in use by another process, the data are missing, the network
            does not fit the data, or the devices are not available or do not divide a batch.
        DivergedError: the loss or a variable is not finite; the last good checkpoint is retained.
        StoppedError: a signal asked the run to stop; it is saved at the step reached. (Until the data are loaded,
            signals end a run of several processes as they end other programs.)
    """
    machine = machine or Machine()
    devices = backend.devices(machine.devices, cores_as_devices=_cores_as_devices(recipe, machine))
    folder = RunFolder(out, writes=devices.chief)
    say = say if devices.chief else lambda line: None
    with contextlib.ExitStack() as stack:
        # While one of several processes loads, the others wait and cannot be asked to stop: signals end them all.
        stop = stack.enter_context(stop_request()) if devices.processes == 1 else StopRequest()
        with stop.at_once(NOT_BEGUN):
            feed, weights = _load(recipe, folder, devices, machine)
            with devices.fail_together():
                folder.check(feed.recipe)
                summary = folder.saved_summary()
        if summary is not None:
            say(f"This run is already finished; its results are in {folder.path}")
            return summary
        if devices.processes > 1:
            stop = stack.enter_context(stop_request())
        return _run(RunContext(feed, folder, stop, say), weights)


def _load(recipe: Recipe, folder: RunFolder, devices: Devices, machine: Machine) -> tuple[Feed, Pretrained | None]:
    """Loads the data and weights of a run and resolves its recipe; see `train`."""
    data = devices.chief_first(lambda: load(recipe.dataset, recipe.data_dir))
    weights = devices.chief_first(lambda: read_weights(recipe, folder))
    with devices.fail_together():
        data = selected(recipe, data)
        steps = steps_per_epoch(data.train_count, recipe.batch_size)
        recipe = replace(recipe, fingerprint=data.fingerprint)
        recipe = recipe.resolve(steps, defaults(recipe, data, weights), weights.layout if weights else None)
        devices = devices.for_batch(min(recipe.batch_size, data.train_count) // recipe.accumulate)
        check(recipe, data, devices, machine)
        return Feed(recipe, data, devices, machine), weights


def _run(context: RunContext, weights: Pretrained | None) -> dict[str, Any]:
    """Trains from the newest checkpoint, if there is one, to the end; see `train`."""
    feed, recipe, devices, folder = context.feed, context.recipe, context.devices, context.folder
    probe = probe_recipe(recipe)
    with backend.silenced():
        keras.utils.set_random_seed(recipe.seed)
    with devices.scope():
        unfrozen = replace(recipe, freeze_until=None) if probe else recipe
        on_device = feed.batches if feed.machine.images_on_device else None
        networks = build(unfrozen, feed.data, feed.machine, weights, on_device)
    raise_if_stopped(context.stop, devices, NOT_BEGUN)
    with contextlib.ExitStack() as stack:
        with devices.fail_together():
            stack.enter_context(folder.lock())
            folder.begin(recipe)
        probe_results = _probe(context, probe) if probe else {}
        stack.enter_context(devices.scope())
        if probe:
            probed = read(folder.path / PROBE, recipe.spec, recipe.network, name=recipe.model)
            probed.assign_to(networks.model)
        progress = resume(context, networks)
        context.say(
            " ".join(filter(None, (f"Training on {backend.device(devices.replicas)}.", backend.unused_gpu_hint())))
        )
        stack.enter_context(feed.raising_original_errors())
        raise_if_stopped(context.stop, devices, progress.saved)
        fit(context, networks, progress)
        return finish(context, networks, progress.history, probe_results)


def _probe(context: RunContext, probe: Recipe) -> dict[str, float]:
    """Trains the part of the network that is not frozen, as a run of its own; returns its final error by name."""
    say, name = context.say, f"{context.feed.split}_error"
    epochs = "1 epoch" if probe.epochs == 1 else f"{probe.epochs} epochs"
    say(f"Probe: training for {epochs} with the network frozen up to {probe.freeze_until}.")
    try:
        error = train(probe, context.folder.path / PROBE, say, context.feed.machine)[name]
    except DivergedError as diverged:
        diverged.probe = True
        raise
    with backend.silenced():
        keras.utils.set_random_seed(probe.seed)  # the same state whether the probe was trained now or earlier
    say(f"The probe ended with {error:.2f} % {context.feed.split} error. Training the entire network.")
    return {f"probe_{name}": error}


def _cores_as_devices(recipe: Recipe, machine: Machine) -> bool:
    """Returns whether steps are faster if a batch is split over the CPU cores, see `benchmarks/NOTES.md`."""
    dataset = DATASETS.get(recipe.dataset)
    side = recipe.size or (dataset.side if dataset else SIZE)
    needs_one_device = machine.images_on_device or machine.steps_per_execution > 1
    return recipe.spec.unit == "basic" and side >= 32 and not needs_one_device


def resume(context: RunContext, networks: Networks) -> Progress:
    """Restores the networks in every process from the newest checkpoint and prepares them for training together.

    Returns:
        The progress of the run at that checkpoint.

    Raises:
        ValueError: no checkpoint fits, or the processes do not see the same one.
    """
    folder, devices = context.folder, context.devices
    with devices.fail_together():
        progress = folder.restore(networks.logits_model, seed_variables(networks.training_model), context.say)
    restored = devices.gather(str(progress))
    if len(set(restored)) > 1:
        raise ValueError(
            f"The processes see different checkpoints in {str(folder.path)!r}, after {', '.join(restored)}. "
            "Choose a folder with --out that all of them share."
        )
    devices.prepare(networks.logits_model, networks.training_model)
    if progress.begun:
        context.say(f"Resuming after {progress} of {context.feed.epochs}.")
    return progress


def fit(context: RunContext, networks: Networks, progress: Progress) -> None:
    """Trains for the remaining steps of a run, by `model.fit` and callbacks."""
    feed, recipe, devices = context.feed, context.recipe, context.devices
    profiled = feed.machine.profile and devices.chief
    profiles = [Profile(context.folder.path / PROFILE, context.say)] if profiled else []
    executions = StepsPerExecution(feed.machine.steps_per_execution)
    rate = LearningRate(recipe, feed.steps, progress)
    divergence = StopOnDivergence(feed.split)
    recorder = RunRecorder(context, progress, rate, divergence, networks.logits_model)

    def batches(epoch: int, step: int, end: int) -> Iterator[Any]:
        stream = feed.fit_batches(epoch, step, end)
        return backend.mark_waiting(stream) if profiled else stream

    bar = Bar("Testing", len(feed.test_batches))
    averages = [keras.callbacks.SwapEMAWeights()] if recipe.ema else []
    for first, end in _epoch_ranges(progress, feed.sizes):
        executions.prepare(networks.training_model, feed.steps - progress.step, feed.sizes[first])
        networks.training_model.fit(
            devices.feed(partial(batches, first, progress.step, end)),  # Keras peeks at two batches, of one shape
            steps_per_epoch=feed.steps - progress.step,
            initial_epoch=first,
            epochs=feed.epochs,
            validation_data=devices.feed_test(feed.test_batches),
            validation_steps=len(feed.test_batches),
            callbacks=[
                MeanTestLoss(feed.test_batches),
                executions,
                rate,
                divergence,
                recorder,
                bar,
                *averages,
                *profiles,
                StopAfterEpoch(end),
            ],
            shuffle=False,  # the batches are shuffled already
            verbose=(1 if sys.stdout.isatty() else 2) if devices.chief else 0,
        )
    for profile in profiles:
        profile.end()


def _epoch_ranges(progress: Progress, sizes: Sequence[int | None]) -> Iterator[tuple[int, int]]:
    """Yields the epochs of each call of `fit`: the first, and the one after the last.

    The rest of an epoch needs a call of its own, since all epochs of a call have equally many steps; and so do the
    epochs of each image size, since all batches of a call have the same shape.
    """
    first = len(progress.history)
    ends = {epoch for epoch in range(1, len(sizes)) if sizes[epoch] != sizes[epoch - 1]}
    ends |= {len(sizes), *((first + 1,) if progress.step else ())}
    for end in sorted(end for end in ends if end > first):
        yield first, end
        first = end
