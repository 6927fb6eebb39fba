"""Profile of a training step: the time of input, device and host."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import keras

from .. import backend
from ..backend.traces import Span
from ..files import write_json

WARMUP_STEPS, TRACED_STEPS = 10, 20


class Profile(keras.callbacks.Callback):
    """Callback that traces some steps of one epoch, saves the trace for viewers, and reports where the time went.

    "device" is the time in which the device computed; "input" the time in which a step waited for its images and the
    device did not compute; "host" the rest, such as Python code between operations and the overhead of the trace.

    Args:
        folder: the folder to which the trace and `profile.json` are written.
        say: called with each line reported to the user.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        super().__init__()
        self.folder, self.say = folder, say
        self._previous_steps = 0  # of earlier epochs
        self._begun, self._first = False, 0  # whether the trace has begun, and at which step
        self._stop: int | None = None  # the step at which it may end, while it is running

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self._stop is not None and batch >= self._stop:
            self._end(batch)
        elif not self._begun and self._previous_steps + batch >= WARMUP_STEPS:
            last = self.params["steps"] - 1  # if steps run one by one, no later one shows its end
            if last - batch >= min(TRACED_STEPS, last) > 0:
                self._begun, self._first, self._stop = True, batch, batch + min(TRACED_STEPS, last)
                self._wait()
                backend.start_trace(self.folder)
                self._started = time.perf_counter()

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self._stop is not None:
            self._end(self.params["steps"])

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.on_test_begin()  # if there was no test
        self._previous_steps += self.params["steps"]

    def _end(self, step: int) -> None:
        """Ends the trace before this step of the epoch."""
        self._wait()
        seconds, steps = time.perf_counter() - self._started, step - self._first
        self._stop = None
        self._report(seconds, steps)

    def _wait(self) -> None:
        """Waits until the device has completed all steps so far."""
        keras.ops.convert_to_numpy(self.model.metrics_variables[0])

    def end(self) -> None:
        """Reports it if nothing was traced."""
        if not self._begun:
            self.say(f"No profile: the run is too short. It needs {WARMUP_STEPS} steps, then an epoch of at least 2.")

    def _report(self, seconds: float, steps: int) -> None:
        parts = divide(seconds, *backend.stop_trace(self.folder))
        write_json(self.folder / "profile.json", {"steps": steps, "seconds": seconds, **parts})
        scale = 1000 / steps
        words = ", ".join(f"{name} {scale * part:.1f} ms ({part / seconds:.0%})" for name, part in parts.items())
        self.say(f"{scale * seconds:.1f} ms per step, over {steps} steps: {words}")
        self.say(f"To open the trace: {backend.viewer(self.folder)}.")


def divide(seconds: float, waits: Iterable[Span], computations: Iterable[Span]) -> dict[str, float]:
    """Divides time between "input", "device" and "host"; see `Profile`.

    Args:
        seconds: the total time.
        waits: the spans of time in which images were waited for.
        computations: the spans of time in which the device computed.
    """
    computations = list(computations)
    device = covered_time(computations)
    waiting = covered_time([*waits, *computations]) - device
    return {"input": waiting, "device": device, "host": max(0.0, seconds - device - waiting)}


def covered_time(spans: Iterable[Span]) -> float:
    """Returns the total time covered by spans, which may overlap."""
    total, end = 0.0, float("-inf")
    for span_start, span_end in sorted(spans):
        total += max(0.0, span_end - max(span_start, end))
        end = max(end, span_end)
    return total
