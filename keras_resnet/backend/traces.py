"""Parts of reading profiler traces. Those of TensorFlow and JAX have planes (hosts or devices), lines and events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

Span = tuple[float, float]  # start and end, in seconds
WAITING = "wait for images"  # the name of the event in a trace


class Event(NamedTuple):
    """An event of a trace, on a line (a thread or stream) of a plane (a host or device)."""

    plane: str
    line: str
    name: str
    span: Span


def file(folder: Path) -> Path:
    """Returns the newest file that TensorFlow's or JAX's profiler has written in a folder."""
    return max(folder.glob("plugins/profile/*/*.xplane.pb"))


def marked(batches: Iterator[Any], mark: Callable[[], AbstractContextManager[Any]]) -> Iterator[Any]:
    """Yields batches, and waits for each within a context manager of the backend that marks an event."""
    while True:
        with mark():
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


def device(events: Iterable[Event], processors: str) -> list[Span]:
    """Returns the spans in which the accelerators computed, or the processor if there are none.

    Args:
        events: all events of a trace.
        processors: prefix of the names of the threads that compute if the processor is the device.
    """
    events = list(events)
    computing = [event for event in events if event.plane.startswith("/device:") and event.line != "Steps"]
    computing = computing or [event for event in events if event.line.startswith(processors)]
    return [event.span for event in computing if "wait" not in event.name]
