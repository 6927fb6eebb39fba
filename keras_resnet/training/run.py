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
        ValueError: If the folder holds another run or is in use by another process, the data are missing, the network
            does not fit the data, or the devices are not available or do not divide a batch.
        DivergedError: If the loss or a variable is not finite; the last good checkpoint is retained.
        StoppedError: If a signal asked the run to stop after its data were loaded; it is saved at the step reached.
    """
    machine = machine or Machine()
    devices = backend.devices(machine.devices, cores_as_devices=_cores_as_devices(recipe, machine))
    folder = RunFolder(out, writes=devices.chief)
    say = say if devices.chief else lambda line: None
    data = devices.chief_first(lambda: load(recipe.dataset, recipe.data_dir))
    weights = devices.chief_first(lambda: read_weights(recipe, folder))
    with devices.fail_together():
        data, split = _selected(recipe, data)
        steps = steps_per_epoch(data.train_count, recipe.batch_size)
        recipe = replace(recipe, fingerprint=data.fingerprint)
        recipe = recipe.resolve(steps, defaults(recipe, data, weights), weights and weights.layout)
        devices = devices.for_batch(min(recipe.batch_size, data.train_count) // recipe.accumulate)
        _check(recipe, data, devices, machine)
        feed = Feed(recipe, data, devices, machine)
        folder.check(recipe)
        summary = folder.saved_summary()
    if summary is not None:
        say(f"This run is already finished; its results are in {folder.path}")
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
    """Runs a resolved recipe on loaded data; see `train`."""
    recipe, devices, machine = feed.recipe, feed.devices, feed.machine
    probe = probe_recipe(recipe)
    with backend.silenced():
        keras.utils.set_random_seed(recipe.seed)
    with devices.scope():
        unfrozen = replace(recipe, freeze_until=None) if probe else recipe
        networks = build(unfrozen, feed.data, machine, weights, feed.batches)
    raise_if_stopped(stop, devices, "the run had not begun")
    with contextlib.ExitStack() as stack:
        with devices.fail_together():
            stack.enter_context(folder.lock())
            folder.begin(recipe)
        probe_results = _probe(probe, folder.path / PROBE, say, machine, split) if probe else {}
        stack.enter_context(devices.scope())
        if probe:
            read_weights(replace(recipe, weights=str(folder.path / PROBE))).assign_to(networks.model)
        progress = resume(networks, folder, devices, say)
        if progress.history or progress.step:
            say(f"Resuming after {progress} of {recipe.epochs}.")
        say(" ".join(filter(None, (f"Training on {backend.device(devices.replicas)}.", backend.unused_gpu_hint()))))
        stack.enter_context(feed.raising_original_errors())
        raise_if_stopped(stop, devices, f"the run is saved after {progress}")
        fit(feed, networks, folder, progress, split, stop, say)
        return finish(feed, networks, folder, progress.history, split, probe_results, stop)


def _probe(probe: Recipe, out: Path, say: Callable[[str], None], machine: Machine, split: str) -> dict[str, float]:
    """Trains the part of the network that is not frozen, as a run of its own; returns its final error by name."""
    say(f"Probe: training for {probe.epochs} epochs with the network frozen up to {probe.freeze_until}.")
    try:
        error = train(probe, out, say, machine)[f"{split}_error"]
    except DivergedError as diverged:
        diverged.probe = True
        raise
    with backend.silenced():
        keras.utils.set_random_seed(probe.seed)  # the same state whether the probe was trained now or earlier
    say(f"The probe ended with {error:.2f} % {split} error. Training the entire network.")
    return {f"probe_{split}_error": error}


def _cores_as_devices(recipe: Recipe, machine: Machine) -> bool:
    """Whether steps are faster if a batch is split over the CPU cores, see `benchmarks/NOTES.md`."""
    dataset = DATASETS.get(recipe.dataset)
    side = recipe.size or (dataset.side if dataset else SIZE)
    needs_one_device = machine.images_on_device or machine.steps_per_execution > 1
    return recipe.spec.unit == "basic" and side >= 32 and not needs_one_device


def _selected(recipe: Recipe, data: LabelledImages) -> tuple[LabelledImages, str]:
    """Returns the images that a recipe selects, and what it is tested on: "test" or "validation".

    Raises:
        ValueError: If the data set has too few training images, or a single class, on which nothing can be learned.
    """
    if data.classes < 2:
        raise ValueError(
            f"`dataset` must have at least two classes. Received: {recipe.dataset}, whose only class is "
            f"{data.class_names[0]!r}"
        )
    split = "test"
    if recipe.validation:
        if recipe.validation >= data.train_count:
            raise ValueError(
                f"`validation` must be below {data.train_count}, the number of training images of {recipe.dataset}. "
                f"Received: {recipe.validation}"
            )
        data, split = data.hold_out(recipe.validation, seed=recipe.seed), "validation"
    if recipe.images is not None:
        if recipe.images > data.train_count:
            which = f"{recipe.dataset}{' that are not held out' if recipe.validation else ''}"
            raise ValueError(
                f"`images` must be at most {data.train_count}, the number of training images of {which}. "
                f"Received: {recipe.images}"
            )
        data = data.take(recipe.images)
    return data, split


def _check(recipe: Recipe, data: LabelledImages, devices: Devices, machine: Machine) -> None:
    """Checks that the recipe, the data, the devices and the machine's settings work together.

    Raises:
        ValueError: If they do not.
    """
    devices.check_batch(min(recipe.batch_size, data.train_count) // recipe.accumulate)
    if recipe.accumulate > 1 and recipe.batch_size > data.train_count:
        raise ValueError(
            f"`accumulate` needs at least one full batch of {recipe.batch_size} images. Received: {data.train_count}"
        )
    if machine.loop_units and not devices.supports_loops:
        raise ValueError(
            f"`loop_units` needs a single device on this backend. Received: {devices.replicas} devices. "
            "Choose --devices 1, or --backend jax."
        )
    if recipe.accumulate > 1 and not devices.supports_accumulation:
        raise ValueError(
            f"`accumulate` needs a single device on this backend. Received: {devices.replicas} devices. "
            "Choose --devices 1, or --backend jax."
        )
    on_one_device = {
        "steps_per_execution": machine.steps_per_execution > 1,
        "images_on_device": machine.images_on_device,
    }
    for name in (name for name, enabled in on_one_device.items() if enabled):
        if devices.replicas > 1:
            raise ValueError(f"`{name}` needs a single device. Received: {devices.replicas}. Choose --devices 1.")
    if machine.images_on_device and not data.in_memory:
        raise ValueError(
            f"`images_on_device` needs a data set in memory. Received: {recipe.dataset}, which is read from files."
        )
    if machine.steps_per_execution > 1 and recipe.waits_for_error:
        raise ValueError(
            "`steps_per_execution` must be 1 if the learning rate depends on the training error, as in this recipe's "
            "warm-up. Choose --warmup-iterations 400 for a warm-up of fixed length, or --warmup-rate 0 for none."
        )
    if machine.steps_per_execution > 1 and recipe.schedule == "plateau" and (recipe.rise or recipe.warmup_iterations):
        raise ValueError(
            "`steps_per_execution` must be 1 if the learning rate rises from step to step in a plateau schedule. "
            "Choose --rise 0 and no --warmup-iterations, or another --schedule."
        )


def resume(networks: Networks, folder: RunFolder, devices: Devices, say: Callable[[str], None]) -> Progress:
    """Restores the networks in every process from the newest checkpoint and prepares them for training together.

    Returns:
        The progress of the run at that checkpoint.

    Raises:
        ValueError: If no checkpoint fits, or the processes do not see the same one.
    """
    with devices.fail_together():
        progress = folder.restore(networks.logits_model, seed_variables(networks.training_model), say)
    restored = devices.gather(str(progress))
    if len(set(restored)) > 1:
        raise ValueError(
            f"The processes see different checkpoints in {str(folder.path)!r}, after {', '.join(restored)}. "
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
    """Trains for the remaining steps of a run, by `model.fit` and callbacks."""
    recipe, devices = feed.recipe, feed.devices
    profiled = feed.machine.profile and devices.chief
    profiles = [Profile(folder.path / PROFILE, say)] if profiled else []
    executions = StepsPerExecution(feed.machine.steps_per_execution)
    rate = LearningRate(recipe, feed.steps, progress)
    divergence = StopOnDivergence(split)
    recorder = RunRecorder(
        folder,
        progress,
        rate,
        divergence,
        devices,
        logits_model=networks.logits_model,
        epochs=recipe.epochs,
        save_every=feed.machine.save_every,
        stop=stop,
    )

    def batches(epoch: int, step: int, end: int) -> Iterator[Any]:
        stream = feed.fit_batches(epoch, step, end)
        return backend.mark_waiting(stream) if profiled else stream

    bar = Bar("Testing", len(feed.test_batches))
    averages = [keras.callbacks.SwapEMAWeights()] if recipe.ema else []
    for first, end in _epoch_ranges(progress, recipe):
        executions.prepare(networks.training_model, feed.steps - progress.step, recipe.size_in(first))
        networks.training_model.fit(
            devices.feed(partial(batches, first, progress.step, end)),  # Keras peeks at two batches, of one shape
            steps_per_epoch=feed.steps - progress.step,
            initial_epoch=first,
            epochs=recipe.epochs,
            validation_data=devices.feed_test(feed.test_batches),
            validation_steps=len(feed.test_batches),
            callbacks=[executions, rate, divergence, recorder, bar, *averages, *profiles, StopAfterEpoch(end)],
            shuffle=False,  # the batches are shuffled already
            verbose=(1 if sys.stdout.isatty() else 2) if devices.chief else 0,
        )
    for profile in profiles:
        profile.end()


def _epoch_ranges(progress: Progress, recipe: Recipe) -> Iterator[tuple[int, int]]:
    """Yields the epochs of each call of `fit`: the first, and the one after the last.

    The rest of an epoch needs a call of its own, since all epochs of a call have equally many steps; and so do the
    epochs of each image size, since all batches of a call have the same shape.
    """
    first = len(progress.history)
    ends = {epoch for epoch in range(1, recipe.epochs) if recipe.size_in(epoch) != recipe.size_in(epoch - 1)}
    ends |= {recipe.epochs, *((first + 1,) if progress.step else ())}
    for end in sorted(end for end in ends if end > first):
        yield first, end
        first = end
