"""Where the time of a training step goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import keras

from .. import backend
from ..backend.traces import Span
from ..saving import write_json

BEFORE, TRACED = 10, 20  # steps


class Profile(keras.callbacks.Callback):
    """Traces some steps of one epoch, leaves what viewers open, and tells where their time went.

    The device's time is when it computed; input, when a step waited for its images and the device did not compute;
    the host's is the rest, such as what Python does between operations. A trace costs time itself, which is the host's.

    Args:
        folder: where the trace and `profile.json` are left.
        say: what is told to the user, a line at a time.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        super().__init__()
        self.folder, self.say = folder, say
        self._before = 0  # steps of earlier epochs
        self._first, self._behind = None, None  # the step at which the trace begins, and the one at which it may end

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self._behind is not None and batch >= self._behind:
            self._end(batch)
        elif self._first is None and self._before + batch >= BEFORE:
            most = self.params["steps"] - 1  # where each is taken by itself, the last is seen to end by no other
            if most - batch >= min(TRACED, most) > 0:
                self._first, self._behind = batch, batch + min(TRACED, most)
                self._wait()
                backend.start_trace(self.folder)
                self._begun = time.perf_counter()

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self._behind is not None:
            self._end(self.params["steps"])

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.on_test_begin()  # if there was no test
        self._before += self.params["steps"]

    def _end(self, step: int) -> None:
        """Before this step of the epoch."""
        self._wait()
        seconds, traced = time.perf_counter() - self._begun, step - self._first
        self._behind = None
        self._tell(seconds, traced)

    def _wait(self) -> None:
        """For the device to end what it has been told."""
        keras.ops.convert_to_numpy(self.model.metrics_variables[0])

    def end(self) -> None:
        """Says so if nothing was traced."""
        if self._first is None:
            self.say(f"No profile: it takes {BEFORE} steps and then an epoch of at least 2.")

    def _tell(self, seconds: float, traced: int) -> None:
        parts = where(seconds, *backend.stop_trace(self.folder))
        write_json(self.folder / "profile.json", {"steps": traced, "seconds": seconds, **parts})
        each = 1000 / traced
        words = ", ".join(f"{name} {each * part:.1f} ms ({part / seconds:.0%})" for name, part in parts.items())
        self.say(f"Of {each * seconds:.1f} ms a step, in {traced} steps: {words}")
        self.say(f"The trace opens by {backend.viewer(self.folder)}.")


def where(seconds: float, waited: Iterable[Span], computed: Iterable[Span]) -> dict[str, float]:
    """Divides time between "input", "device" and "host"; see `Profile`.

    Args:
        seconds: all of it.
        waited: when images were waited for.
        computed: when the device computed.
    """
    computed = list(computed)
    device = covered(computed)
    waited = covered([*waited, *computed]) - device
    return {"input": waited, "device": device, "host": max(0.0, seconds - device - waited)}


def covered(spans: Iterable[Span]) -> float:
    """The length of time that spans cover, however they overlap."""
    total, end = 0.0, float("-inf")
    for begun, ended in sorted(spans):
        total += max(0.0, ended - max(begun, end))
        end = max(end, ended)
    return total
