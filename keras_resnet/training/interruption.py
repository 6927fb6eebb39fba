"""Requests to stop by a signal, on which a run is saved so that it can be resumed."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


class StoppedError(RuntimeError):
    """The run was asked to stop, and its progress is saved."""


class StopRequest:
    """A request to stop that a signal may make at any time.

    Attributes:
        signal: the name of the signal that was received; None if none was.
    """

    signal: str | None = None


_active: StopRequest | None = None


@contextlib.contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Context manager in which SIGTERM and SIGUSR1 make a request to stop instead of ending the process.

    Schedulers send SIGTERM before they kill a process, and Slurm sends the signal named by its `--signal`. Outside
    Python's main thread, where no handler can be set, no request is ever made. A nested context shares the request of
    the outer one.
    """
    global _active
    request = _active or StopRequest()

    def on_signal(number: int, frame: object) -> None:
        request.signal = signal.Signals(number).name

    outermost = _active is None and threading.current_thread() is threading.main_thread()
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if outermost and hasattr(signal, name)]
    handlers = [(number, signal.signal(number, on_signal)) for number in numbers]
    _active = request if outermost else _active
    try:
        yield request
    finally:
        _active = None if outermost else _active
        for number, handler in handlers:
            signal.signal(number, handler)
