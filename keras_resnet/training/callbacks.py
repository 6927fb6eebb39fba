"""Callbacks of `model.fit`: checkpoints and history, and an end to runs that diverge or are asked to stop.

What has to be done after a step is done in `on_train_batch_begin` of the next: for a callback that overrides
`on_train_batch_end`, Keras waits for the device after every step.
"""

from __future__ import annotations

import math
import time
from typing import Any

import keras
import numpy as np

from .. import backend
from ..backend.devices import Devices
from .context import RunContext
from .errors import DivergedError
from .folder import Progress, seed_variables
from .interruption import StoppedError, StopRequest
from .learning_rate import LearningRate
from .metrics import percent_error

AGREE_EVERY = 20  # steps after which several processes agree on whether to save or to stop
LONG_TEST = 10  # seconds; a test after an epoch that takes longer can be stopped


class StopOnDivergence(keras.callbacks.Callback):
    """Ends a run whose loss or variables are no longer finite, before they are saved.

    The loss that Keras reports is a mean over the epoch so far, so once it is not finite it stays so, and checking it
    about every hundred steps is enough: each check waits for the device. At the end of an epoch every variable is
    checked, since some, such as a moving variance, may be infinite while the loss is finite.

    Args:
        split: the images that the run is tested on, "test" or "validation".
    """

    def __init__(self, split: str) -> None:
        super().__init__()
        self.split = split

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._next = 1

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if batch >= self._next:
            self._next = batch + 100
            self._check_loss(self.model.get_metrics_result(), f"step {batch} of the epoch")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        self.check(logs, f"the end of epoch {epoch + 1}")

    def check(self, logs: dict[str, Any], where: str) -> None:
        """Checks that the loss and all variables are finite and may be saved.

        Args:
            logs: losses by name, as Keras reports them.
            where: the moment of the run, for the message.

        Raises:
            DivergedError: the loss or a variable is not finite.
        """
        self._check_loss(logs, where)
        for variable in (*self.model.variables, *self.model.optimizer.variables):
            is_float = keras.backend.is_float_dtype(variable.dtype)
            if is_float and not np.isfinite(keras.ops.convert_to_numpy(variable)).all():
                raise DivergedError(f"{variable.path} is not finite at {where}")

    def _check_loss(self, logs: dict[str, Any], where: str) -> None:
        for name in ("loss", "val_loss"):
            if not math.isfinite(loss := float(logs.get(name, 0.0))):
                raise DivergedError(f"the {name.replace('val_', f'{self.split} ')} is {loss} at {where}")


class RunRecorder(keras.callbacks.Callback):
    """Writes checkpoints, and after every epoch the history and, from time to time, the plot of the curves.

    If the test after an epoch takes long, the epochs after it are also saved before their last step: a request to stop
    can then end their test, and only that step and the test are repeated when the run is resumed.

    Args:
        context: what the steps of the run share.
        progress: the progress of the run, which is updated.
        rate: the run's learning-rate callback, whose state is saved.
        divergence: the callback that checks that the variables may be saved.
        logits_model: the model that is saved; it shares its variables with the one that is trained.
    """

    def __init__(
        self,
        context: RunContext,
        progress: Progress,
        rate: LearningRate,
        divergence: StopOnDivergence,
        logits_model: keras.Model,
    ) -> None:
        super().__init__()
        self.context, self.folder, self.devices = context, context.folder, context.devices
        self.progress, self.rate, self.divergence, self.logits_model = progress, rate, divergence, logits_model
        self._test_seconds = 0.0  # of the latest test, without its first batch, which compiles

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self.progress.step:  # resumed within an epoch; Keras has just reset the metrics
            sums = self.devices.local_metrics(self.progress.metrics)
            for variable, value in zip(self.model.metrics_variables, sums, strict=True):
                variable.assign(value)
        self._first_step = self.progress.step
        self._seconds_between = 60 * self.context.feed.machine.save_every
        self._saved = time.monotonic()
        self._started = time.perf_counter() - self.progress.seconds
        self._trained: float | None = None
        self._can_stop_test = False
        self._tested_since: float | None = None

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        step, feed = self._first_step + batch, self.context.feed
        last = step == feed.steps - 1 and feed.machine.steps_per_execution == 1
        before_long_test = last and self._test_seconds > LONG_TEST
        if not batch or (self.devices.processes > 1 and step % AGREE_EVERY and not before_long_test):
            return
        if request := self._request(due=before_long_test or time.monotonic() - self._saved > self._seconds_between):
            where = f"step {step} of epoch {len(self.progress.history) + 1}"
            self.divergence.check(self.model.get_metrics_result(), where)
            self.progress.step, self.progress.seconds = step, time.perf_counter() - self._started
            sums = [keras.ops.convert_to_numpy(variable).tolist() for variable in self.model.metrics_variables]
            self.progress.metrics = self.devices.gather_metrics(sums)
            self._write()
            self._stop_on(request)
            self._can_stop_test = last

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        keras.ops.convert_to_numpy(self.model.optimizer.iterations)  # waits for the last step to end
        self._trained = time.perf_counter()

    def on_test_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if batch == 1:
            self._tested_since = time.perf_counter()
        if self._can_stop_test and batch and not (self.devices.processes > 1 and batch % AGREE_EVERY):
            raise_if_stopped(self.context.stop, self.devices, self.progress.saved)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        self.progress.history.append(
            {
                "epoch": epoch + 1,
                "train_loss": float(logs["loss"]),
                "train_error": percent_error(logs["accuracy"]),
                f"{self.context.feed.split}_loss": float(logs["val_loss"]),
                f"{self.context.feed.split}_error": percent_error(logs["val_accuracy"]),
                "learning_rate": logs["learning_rate"],
                "seconds": round((self._trained or time.perf_counter()) - self._started, 3),
            }
        )
        seconds = time.perf_counter() - (self._tested_since or time.perf_counter())
        self._test_seconds = max(map(float, self.devices.gather(str(seconds))))  # all processes save at the same step
        self.progress.step, self.progress.seconds, self.progress.metrics = 0, 0.0, []
        self._write()
        self.folder.write_history(self.progress.history)
        if epoch + 1 < self.context.feed.epochs:
            self._stop_on(self._request(due=False))

    def _request(self, due: bool) -> str | None:
        """Returns what any of the processes needs: "a checkpoint", or a stop, by the name of its signal."""
        requests = self.devices.gather(self.context.stop.signal or ("a checkpoint" if due else ""))
        return max(requests, key=lambda request: (bool(request), request != "a checkpoint")) or None

    def _stop_on(self, request: str | None) -> None:
        if request not in (None, "a checkpoint"):
            raise StoppedError(f"stopped by {request}; {self.progress.saved}")

    def _write(self) -> None:
        self.progress.state = self.rate.state
        training_model = self.model  # on JAX, this access syncs the variables from `fit`
        with self.devices.saving_scope(self.logits_model):
            self.folder.write_checkpoint(self.logits_model, seed_variables(training_model), self.progress)
        self._saved = time.monotonic()


class StepsPerExecution(keras.callbacks.Callback):
    """Makes Keras's `fit` run several training steps per execution; tests still run batch by batch.

    Args:
        limit: the highest number of steps per execution; the number used is the highest that divides an epoch.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit
        self._traced: tuple[int, int | None] | None = None

    def prepare(self, model: keras.Model, steps: int, size: int | None) -> None:
        """Makes the train function for a call of `fit`, unless that of the previous call fits.

        Args:
            model: the model to be trained.
            steps: steps per epoch.
            size: side of the images; for a second size, TensorFlow would retrace a function for arbitrary sizes.
        """
        count = next(count for count in range(min(self.limit, steps), 0, -1) if steps % count == 0)
        if (count, size) != self._traced:
            model.make_train_function(force=True)
            if count > 1:
                model.train_function = backend.multi_step_function(model, count)
            self._traced = count, size
        model.steps_per_execution = count

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.model.steps_per_execution = 1  # for tests only: `fit` has already read the value for training


class StopAfterEpoch(keras.callbacks.Callback):
    """Ends a call of `fit` that trains a part of a run, while its progress bar counts the epochs of the entire run.

    Args:
        epochs: the epoch after which it ends, counted from 1 at the beginning of the run.
    """

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.epochs = epochs

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.model.stop_training = epoch + 1 == self.epochs


class StopTestOnRequest(keras.callbacks.Callback):
    """Ends a test, or other work on batches after the last epoch, if the run is asked to stop.

    The request is checked between batches, with several processes every `AGREE_EVERY` batches; so a test of a single
    batch always completes. Nothing has to be saved, since the run was saved after its last epoch.

    Args:
        stop: the request to stop, if one comes.
        devices: the devices that the run trains on.
        state: the state of the run, for the message.
    """

    def __init__(self, stop: StopRequest, devices: Devices, state: str) -> None:
        super().__init__()
        self.stop, self.devices, self.state = stop, devices, state

    def on_test_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if batch and not (self.devices.processes > 1 and batch % AGREE_EVERY):
            raise_if_stopped(self.stop, self.devices, self.state)


def raise_if_stopped(stop: StopRequest, devices: Devices, state: str) -> None:
    """Ends the run if any of its processes was asked to stop; all processes must call this at the same moment.

    Args:
        stop: the request to stop of this process.
        devices: the devices that the run trains on.
        state: the state of the run, for the message.

    Raises:
        StoppedError: one of the processes was asked; all of them raise it.
    """
    if name := next(filter(None, devices.gather(stop.signal or "")), None):
        raise StoppedError(f"stopped by {name}; {state}")
