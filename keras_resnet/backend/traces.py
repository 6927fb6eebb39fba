"""What engines note of a machine at work; TensorFlow and JAX: events on lines, threads or streams, of planes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

Span = tuple[float, float]  # from and to, in seconds
WAITING = "wait for images"  # as a trace shows it


class Event(NamedTuple):
    """Something that happened."""

    plane: str
    line: str
    name: str
    span: Span


def file(folder: Path) -> Path:
    """The newest file that the profiler of TensorFlow and JAX has left in a folder."""
    return max(folder.glob("plugins/profile/*/*.xplane.pb"))


def marked(batches: Iterator[Any], mark: Callable[[], AbstractContextManager[Any]]) -> Iterator[Any]:
    """Batches as they come, each waited for within a mark of the engine's."""
    while True:
        with mark():
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


def device(events: Iterable[Event], processors: str) -> list[Span]:
    """When the device computed: the accelerators, or the processor where there are none.

    Args:
        events: all of them.
        processors: how the names of those threads begin that compute where the processor is the device.
    """
    events = list(events)
    there = [event for event in events if event.plane.startswith("/device:") and event.line != "Steps"]
    there = there or [event for event in events if event.line.startswith(processors)]
    return [event.span for event in there if "wait" not in event.name]
