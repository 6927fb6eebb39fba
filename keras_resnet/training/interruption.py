"""A run that is asked to stop saves where it is, to go on from there."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


class StoppedError(RuntimeError):
    """The run was asked to stop, and all that it had done is saved."""


class StopRequest:
    """Whether somebody has asked.

    Attributes:
        signal: the name of the signal that came; None before.
    """

    signal: str | None = None


_open: StopRequest | None = None


@contextlib.contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Takes SIGTERM, which schedulers send before they kill, and SIGUSR1, as Slurm's `--signal` asks for, as a request.

    Outside Python's main thread, where no handler can be set, nothing is ever asked. Within another of these, what is
    asked of the one is asked of the other.
    """
    global _open
    request = _open or StopRequest()

    def ask(number: int, frame: object) -> None:
        request.signal = signal.Signals(number).name

    here = _open is None and threading.current_thread() is threading.main_thread()
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if here and hasattr(signal, name)]
    before = [(number, signal.signal(number, ask)) for number in numbers]
    _open = request if here else _open
    try:
        yield request
    finally:
        _open = None if here else _open
        for number, handler in before:
            signal.signal(number, handler)
