"""What happens around the steps of `model.fit`: the books, and a stop where the loss is lost.

What has to be done behind a step is done before the next one: where a callback asks for what each step gives, Keras
waits for the device behind each.
"""

from __future__ import annotations

import math
import time
from typing import Any

import keras
import numpy as np

from .. import backend
from ..backend.devices import Devices
from .errors import DivergedError
from .folder import Progress, RunFolder, seed_variables
from .interruption import StoppedError, StopRequest
from .learning_rate import LearningRate
from .metrics import percent_error

AGREE_EVERY = 20  # steps behind which several processes ask one another whether to save or to stop


class StopOnDivergence(keras.callbacks.Callback):
    """Ends a run whose loss is no longer finite, before anything of it is kept.

    The loss that Keras reports is a mean over the epoch so far, so it stays lost once it is; looking at it a hundred
    steps or more later again spares the wait for the device at the others. At the end of an epoch every variable is
    looked at, since some, such as a moving variance, may be lost while the loss is not.

    Args:
        split: what the run is tested on, "test" or "validation".
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

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.check(logs, f"the end of epoch {epoch + 1}")

    def check(self, logs: dict[str, Any] | None, where: str) -> None:
        """Makes sure that what is there now may be saved.

        Raises:
            DivergedError: the loss or a variable is not finite.
        """
        self._check_loss(logs, where)
        for variable in (*self.model.variables, *self.model.optimizer.variables):
            whole = not keras.backend.is_float_dtype(variable.dtype)
            if not (whole or np.isfinite(keras.ops.convert_to_numpy(variable)).all()):
                raise DivergedError(f"{variable.path} is not finite at {where}")

    def _check_loss(self, logs: dict[str, Any] | None, where: str) -> None:
        for name in ("loss", "val_loss"):
            if not math.isfinite(float((logs or {}).get(name, 0.0))):
                raise DivergedError(f"the {name.replace('val_', f'{self.split} ')} is {float(logs[name])} at {where}")


class RunRecorder(keras.callbacks.Callback):
    """Writes checkpoints; and after every epoch the history and, now and then, the picture of the curves.

    Args:
        folder: the run's folder.
        progress: how far the run is; it is updated.
        rate: the run's controller of the learning rate, whose state is saved.
        sound: says whether what there is may be saved.
        devices: what the run trains on.
        logits_model: the model that is saved; of the same variables as the one that is trained.
        epochs: of the whole run.
        save_every: minutes between checkpoints within an epoch.
        stop: whether the run has been asked to stop.
    """

    def __init__(
        self,
        folder: RunFolder,
        progress: Progress,
        rate: LearningRate,
        sound: StopOnDivergence,
        devices: Devices,
        *,
        logits_model: keras.Model,
        epochs: int,
        save_every: float,
        stop: StopRequest,
    ) -> None:
        super().__init__()
        self.folder, self.progress, self.rate, self.sound, self.devices = folder, progress, rate, sound, devices
        self.logits_model, self.epochs, self.save_every, self.stop = logits_model, epochs, save_every, stop
        self.split = sound.split

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self.progress.step:  # in its midst; Keras has just set the metrics to zero
            sums = self.devices.local_metrics(self.progress.metrics)
            for variable, value in zip(self.model.metrics_variables, sums, strict=True):
                variable.assign(value)
        self._first_step = self.progress.step
        self._saved = time.monotonic()
        self._begun, self._trained = time.perf_counter() - self.progress.seconds, None

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        step = self._first_step + batch
        if not batch or (self.devices.processes > 1 and step % AGREE_EVERY):
            return
        if wish := self._wish(due=time.monotonic() - self._saved > 60 * self.save_every):
            self.sound.check(self.model.get_metrics_result(), f"step {step} of epoch {len(self.progress.history) + 1}")
            self.progress.step, self.progress.seconds = step, time.perf_counter() - self._begun
            own = [keras.ops.convert_to_numpy(variable).tolist() for variable in self.model.metrics_variables]
            self.progress.metrics = self.devices.gather_metrics(own)
            self._write()
            self._leave(wish)

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        keras.ops.convert_to_numpy(self.model.optimizer.iterations)  # waits for the last step, which may be under way
        self._trained = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.progress.history.append(
            {
                "epoch": epoch + 1,
                "train_loss": float(logs["loss"]),
                "train_error": percent_error(logs["accuracy"]),
                f"{self.split}_loss": float(logs["val_loss"]),
                f"{self.split}_error": percent_error(logs["val_accuracy"]),
                "learning_rate": logs["learning_rate"],
                "seconds": round((self._trained or time.perf_counter()) - self._begun, 3),
            }
        )
        self.progress.step, self.progress.seconds, self.progress.metrics = 0, 0.0, []
        self._write()
        self.folder.write_history(self.progress.history)
        if epoch + 1 < self.epochs:
            self._leave(self._wish(due=False))

    def _wish(self, due: bool) -> str | None:
        """What any of the processes wants: "a checkpoint", or a stop, by the name of its signal."""
        wishes = self.devices.gather(self.stop.signal or ("a checkpoint" if due else ""))
        return max(wishes, key=lambda wish: (bool(wish), wish != "a checkpoint")) or None

    def _leave(self, wish: str | None) -> None:
        if wish not in (None, "a checkpoint"):
            raise StoppedError(f"{wish} came, and the run is saved behind {self.progress}")

    def _write(self) -> None:
        self.progress.state = self.rate.state
        training_model = self.model  # on JAX, this takes the variables back from `fit`
        with self.devices.saving_scope(self.logits_model):
            self.folder.write_checkpoint(self.logits_model, seed_variables(training_model), self.progress)
        self._saved = time.monotonic()


class StepsPerExecution(keras.callbacks.Callback):
    """Has Keras's `fit` take several steps at once, where that divides an epoch.

    Tests go on batch by batch.

    Args:
        most: steps at once.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self._traced = most, None

    def prepare(self, model: keras.Model, steps: int, size: int | None) -> None:
        """Before a `fit` of so many steps an epoch, on images of this size; for another, it is traced anew."""
        at_once = next(count for count in range(min(self.most, steps), 0, -1) if steps % count == 0)
        if (at_once, size) != self._traced:  # or TensorFlow would trace it for any size
            model.make_train_function(force=True)
            if at_once > 1:
                model.train_function = backend.multi_step_function(model, at_once)
            self._traced = at_once, size
        model.steps_per_execution = at_once

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.model.steps_per_execution = 1  # for tests: `fit` has made up its mind on training


class StopAfterEpoch(keras.callbacks.Callback):
    """Ends a `fit` that is a part of a run, whose progress bar counts the epochs of the whole.

    Args:
        epochs: how many are done when it ends, counted from the beginning of the run.
    """

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.epochs = epochs

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.model.stop_training = epoch + 1 == self.epochs


class StopTestOnRequest(keras.callbacks.Callback):
    """Ends a test, or another work on batches behind the last epoch, where the run is asked to stop.

    That is answered between two batches, of several processes between some on which all look; so a test of one batch
    comes to its end. There is nothing to save: all of the run was, behind its last epoch.

    Args:
        stop: whether the run has been asked.
        devices: what it runs on.
        said: what the error says behind the signal's name.
    """

    def __init__(self, stop: StopRequest, devices: Devices, said: str) -> None:
        super().__init__()
        self.stop, self.devices, self.said = stop, devices, said

    def on_test_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if batch and not (self.devices.processes > 1 and batch % AGREE_EVERY):
            raise_if_stopped(self.stop, self.devices, self.said)


def raise_if_stopped(stop: StopRequest, devices: Devices, said: str) -> None:
    """Ends a run that any of its processes was asked to stop; all of them call this at the same moment.

    Raises:
        StoppedError: one was; in all of them.
    """
    if asked := next(filter(None, devices.gather(stop.signal or "")), None):
        raise StoppedError(f"{asked} came {said}")
