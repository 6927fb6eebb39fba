"""What TensorFlow and JAX note of a machine at work: events on lines, which are threads or streams, of planes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

Span = tuple[float, float]  # from and to, in seconds


class Event(NamedTuple):
    """Something that happened."""

    plane: str
    line: str
    name: str
    span: Span


def file(folder: Path) -> Path:
    """The newest file that the profiler of TensorFlow and JAX has left in a folder."""
    return max(folder.glob("plugins/profile/*/*.xplane.pb"))


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
