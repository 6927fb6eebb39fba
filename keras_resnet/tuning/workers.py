"""Distributed search: keras-tuner's chief and workers, which survive each other's deaths.

keras-tuner's environment variables give each process its role:

    KERASTUNER_TUNER_ID     "chief", or a unique name for each worker
    KERASTUNER_ORACLE_IP    address of the chief
    KERASTUNER_ORACLE_PORT  port of the chief

All processes share the search's folder. A worker sends its chief a heartbeat every few seconds; if none arrives, the
worker counts as dead, and another resumes its trial from the last checkpoint. A chief that is restarted resumes from
its saved state, and its workers wait for it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import keras_tuner
from keras_tuner.src.distribute import oracle_client

from ..training.interruption import StoppedError, StopRequest

SAVED = "the search is saved"  # the state of a search that is asked to stop
# Errors of calls that may succeed later.
RETRIED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN)


class SearchAborted(keras_tuner.errors.FatalError):
    """Ends the search from within a trial; keras-tuner would count any other exception as a failed trial."""


def role() -> str | None:
    """Returns "chief" or "worker"; None if the search is not distributed.

    Raises:
        ValueError: only some of the environment variables are set.
    """
    names = ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")
    missing = [name for name in names if not os.environ.get(name)]
    if len(missing) == len(names):
        return None
    if missing:
        raise ValueError(f"A distributed search needs {', '.join(names)}. Missing: {', '.join(missing)}")
    return "chief" if "chief" in os.environ["KERASTUNER_TUNER_ID"] else "worker"


def _address() -> tuple[str, str]:
    return os.environ["KERASTUNER_ORACLE_IP"], os.environ["KERASTUNER_ORACLE_PORT"]


def wait_for_chief(patience: float) -> None:
    """Waits until the chief accepts connections, for at most `patience` seconds.

    Raises:
        ValueError: it does not.
    """
    host, port = _address()
    deadline = time.monotonic() + patience
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
            return
        except (OSError, ValueError) as error:
            if time.monotonic() > deadline or isinstance(error, ValueError):
                raise ValueError(
                    f"No chief answers at {host}:{port}. Start one with KERASTUNER_TUNER_ID=chief first."
                ) from None
            time.sleep(0.5)


class PatientClient:
    """Wraps keras-tuner's client of a chief: calls are retried while the chief restarts.

    Args:
        client: the client.
        patience: seconds without an answer after which the chief counts as dead.
        stop: a request to stop, which ends a call of the main thread at once.
    """

    def __init__(self, client: Any, patience: float, stop: StopRequest) -> None:
        self._client, self._patience, self._stop = client, patience, stop
        oracle_client.TIMEOUT = patience  # of the calls of all clients of the process; the default is an hour

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._client, name)
        return self._retrying(attribute) if callable(attribute) else attribute

    def _retrying(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def stoppable_call(*args: Any, **kwargs: Any) -> Any:
            if threading.current_thread() is not threading.main_thread():  # which alone receives signals
                return retrying_call(*args, **kwargs)
            try:
                with self._stop.at_once(SAVED):
                    return retrying_call(*args, **kwargs)
            except StoppedError as stopped:
                raise SearchAborted from stopped

        def retrying_call(*args: Any, **kwargs: Any) -> Any:
            deadline = time.monotonic() + self._patience
            while True:
                try:
                    return call(*args, **kwargs)
                except grpc.RpcError as error:
                    if error.code() not in RETRIED or time.monotonic() > deadline:
                        # Fatal: keras-tuner would report the trial as failed to a chief that returns in the meantime.
                        raise keras_tuner.errors.FatalValueError(
                            f"The chief at {':'.join(_address())} no longer answers ({error.code().name}). "
                            "Start it and this worker again to resume the search."
                        ) from None
                    time.sleep(1)

        return stoppable_call


@contextlib.contextmanager
def heartbeats(oracle: Any, trial_id: str, every: float) -> Iterator[None]:
    """Context manager that tells the chief every `every` seconds that a trial is still running."""
    ended = threading.Event()

    def send() -> None:
        while not ended.wait(every):
            # If the chief is unavailable, it will either return or the end of the trial will report the error.
            with contextlib.suppress(ValueError, grpc.RpcError):
                oracle.get_trial(trial_id)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=1)  # a call to a chief that is away lasts longer, and the trial may have been asked to end
