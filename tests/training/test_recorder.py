"""When a run is saved within an epoch, and the seconds that it reports."""

from __future__ import annotations

from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest

from keras_resnet.backend.devices import Devices
from keras_resnet.training import callbacks
from keras_resnet.training.callbacks import RunRecorder
from keras_resnet.training.context import RunContext
from keras_resnet.training.folder import Progress
from keras_resnet.training.interruption import StoppedError


class Pending:
    """The result of the last step: reading it waits until the device is done, at 5 s."""

    def __init__(self, clock):
        self.clock = clock

    def __array__(self, dtype=None, copy=None):
        self.clock[0] = max(self.clock[0], 5.0)
        return np.zeros(())


@pytest.fixture
def clock(monkeypatch):
    """Replaces the clock of the callbacks by one that a test sets."""
    now = [0.0]
    monkeypatch.setattr(callbacks, "time", SimpleNamespace(perf_counter=lambda: now[0], monotonic=lambda: now[0]))
    return now


def recorder_of(folder, progress, save_every=60, steps_per_execution=1, devices=None):
    feed = SimpleNamespace(
        epochs=4,
        devices=devices or Devices(),
        machine=SimpleNamespace(save_every=save_every, steps_per_execution=steps_per_execution),
        steps=30,
        split="test",
    )
    context = RunContext(feed, folder, SimpleNamespace(signal=None))
    return RunRecorder(context, progress, SimpleNamespace(state={}), Mock(), None)


def test_a_checkpoint_is_due_when_the_minutes_have_passed_since_the_last(clock):
    steps, folder = [], Mock()
    folder.write_checkpoint = lambda model, seeds, progress: steps.append(progress.step)
    recorder = recorder_of(folder, Progress(), save_every=2)
    recorder.set_model(SimpleNamespace(get_metrics_result=dict, metrics_variables=[], non_trainable_variables=[]))
    recorder.on_epoch_begin(0)
    for step in range(12):  # of 50 seconds each
        clock[0] = 50.0 * step
        recorder.on_train_batch_begin(step)
    assert steps == [3, 6, 9]


class TwoProcesses(Devices):
    """Two processes, of which the other one tests for ten seconds longer."""

    def gather(self, text):
        return [text, str(float(text) + 10)] if "." in text else [text, ""]


LOGS = {"loss": 1.0, "accuracy": 1, "val_loss": 1.0, "val_accuracy": 1, "learning_rate": 0.1}


@pytest.mark.parametrize(
    ("seconds", "devices", "steps_per_execution", "stops"),
    [
        (11.0, Devices(), 1, True),
        (9.0, Devices(), 1, False),
        (1.0, TwoProcesses(processes=2), 1, True),
        (11.0, Devices(), 3, False),
    ],
)
def test_a_request_ends_a_long_test_after_an_epoch_that_is_saved_before_its_last_step(
    clock, seconds, devices, steps_per_execution, stops
):
    """The first epoch shows whether tests take long, not counting the first batch, which compiles."""
    saved, folder, progress = [], Mock(), Progress()
    folder.write_checkpoint = lambda model, seeds, progress: saved.append((len(progress.history), progress.step))
    recorder = recorder_of(folder, progress, steps_per_execution=steps_per_execution, devices=devices)
    optimizer = SimpleNamespace(iterations=np.zeros(()))
    recorder.set_model(
        SimpleNamespace(optimizer=optimizer, get_metrics_result=dict, metrics_variables=[], non_trainable_variables=[])
    )
    stopped = []
    for epoch in range(2):
        recorder.on_epoch_begin(epoch)
        for step in range(0, 30, steps_per_execution):
            recorder.on_train_batch_begin(step)
        recorder.on_test_begin()
        recorder.on_test_batch_begin(0)
        clock[0] += 100.0  # of compilation
        recorder.on_test_batch_begin(1)
        recorder.context.stop.signal = "SIGTERM" if epoch else None
        clock[0] += seconds
        try:
            recorder.on_test_batch_begin(20)  # at which several processes agree
        except StoppedError as error:
            stopped.append(str(error))
            break
        recorder.context.stop.signal = None
        recorder.on_epoch_end(epoch, dict(LOGS))
    assert stopped == (["stopped by SIGTERM; the run is saved after step 29 of epoch 2"] if stops else [])
    assert saved == ([(1, 0), (1, 29)] if stops else [(1, 0), (2, 0)])


@pytest.mark.parametrize("before", [0.0, 4.0])
def test_the_seconds_of_an_epoch_end_with_its_last_step_and_include_those_before_a_stop(clock, before):
    """Devices may still compute when all steps have been started; the test after them does not count."""
    progress = Progress(seconds=before)
    recorder = recorder_of(Mock(), progress)
    recorder.set_model(
        SimpleNamespace(optimizer=SimpleNamespace(iterations=Pending(clock)), non_trainable_variables=[])
    )
    recorder.on_epoch_begin(0)
    clock[0] = 3.0  # all steps have been started
    recorder.on_test_begin()
    clock[0] = 9.0  # the test has ended
    recorder.on_epoch_end(0, dict(LOGS))
    assert progress.history[-1]["seconds"] == before + 5.0
