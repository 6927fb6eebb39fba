"""Requests to stop by a signal, on which a run is saved so that it can be resumed."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import threading
import time
from collections.abc import Iterator

SIGNALS = ("SIGTERM", "SIGUSR1", "SIGHUP")  # the system may lack some of them
NOT_BEGUN = "it had not begun to train"  # the state of a run that is stopped before its first step
PARENT = "KERAS_RESNET_PARENT"  # environment variable with the number of the process that started this one


class StoppedError(RuntimeError):
    """The run was asked to stop, and its progress is saved."""


class _StoppedAtOnceError(BaseException):
    """Raised by a signal. It is no `Exception`, so that no handler on the way up catches it."""


class StopRequest:
    """A request to stop that a signal may make at any time.

    Attributes:
        signal: the name of the signal that was received; None if none was.
    """

    def __init__(self) -> None:
        self.signal: str | None = None
        self._at_once = False

    def receive(self, name: str) -> None:
        """Called when a signal has been received, in the main thread, with its name."""
        first, self.signal = self.signal is None, name
        if first and self._at_once:  # a second signal must not interrupt what the first one causes to be cleaned up
            raise _StoppedAtOnceError

    @contextlib.contextmanager
    def at_once(self, state: str) -> Iterator[None]:
        """Context manager for work that may take long and leaves nothing to save: a request ends it at once.

        Args:
            state: the state of the run, for the message.

        Raises:
            StoppedError: a request comes, or has come before.
        """
        self._at_once = True
        try:
            if self.signal is None:
                yield
        except BaseException:
            if self.signal is None:
                raise
            # Otherwise the request has ended the work; a library may have made another error of it.
        finally:
            self._at_once = False
        if self.signal is not None:
            raise StoppedError(f"stopped by {self.signal}; {state}")


_active: StopRequest | None = None


@contextlib.contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Context manager in which SIGTERM, SIGUSR1 and SIGHUP make a request to stop instead of ending the process.

    Schedulers send SIGTERM before they kill a process, Slurm sends the signal named by its `--signal`, and a process
    receives SIGHUP when its terminal is lost; one that ignores it, as under `nohup`, goes on doing so. Outside Python's
    main thread, where no handler can be set, no request is ever made. A nested context shares the request of the outer
    one.
    """
    global _active
    request = _active or StopRequest()

    def on_signal(number: int, frame: object) -> None:
        name = signal.Signals(number).name
        if name == "SIGHUP":
            _drop_lost_output()
        request.receive(name)

    outermost = _active is None and threading.current_thread() is threading.main_thread()
    handlers = [(number, signal.signal(number, on_signal)) for number in (_handled() if outermost else ())]
    _active = request if outermost else _active
    try:
        yield request
    finally:
        _active = None if outermost else _active
        for number, handler in handlers:
            signal.signal(number, handler)


def stop_with_parent() -> None:
    """Makes a request to stop once the process that started this one has ended, if the environment names that one.

    A search or `reproduce` that is killed without notice, as where memory runs out, cannot stop its runs itself.
    """
    parent = os.environ.pop(PARENT, "")  # not that of this process's own subprocesses

    def watch() -> None:
        while str(os.getppid()) == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    if parent and os.name == "posix":  # elsewhere, a process keeps the number of a parent that has ended
        threading.Thread(target=watch, daemon=True).start()


def _handled() -> list[signal.Signals]:
    """Returns the signals to handle: SIGHUP only if it is not ignored."""
    available = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    return [number for number in available if number.name != "SIGHUP" or signal.getsignal(number) != signal.SIG_IGN]


def _drop_lost_output() -> None:
    """Sends what else is printed to the null device, unless standard output or error is a file or a terminal.

    Printing to a terminal that is lost would be an error that ends the run before it is saved, and so would printing to
    a pipe whose reader, such as `tee`, the same signal has ended.
    """
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):  # it may be closed
            if not (stat.S_ISREG(os.fstat(descriptor).st_mode) or os.isatty(descriptor)):
                with open(os.devnull, "wb") as null:
                    os.dup2(null.fileno(), descriptor)
