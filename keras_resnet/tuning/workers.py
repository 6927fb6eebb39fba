"""A search on many machines: keras-tuner's chief and workers, which survive each other's deaths.

Each process is told what it is by keras-tuner's own variables:

    KERASTUNER_TUNER_ID     "chief", or a name of its own for every worker
    KERASTUNER_ORACLE_IP    where the chief listens
    KERASTUNER_ORACLE_PORT

All share the search's folder. A worker lets its chief know every few seconds that it lives; one that does not is taken
for dead, and another tries its trial again, from its last checkpoint. A chief that is started again goes on with what
it had written down, and its workers wait for it.
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
from keras_tuner.src.distribute import oracle_client

AGAIN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN)


def role() -> str | None:
    """Whether this process is a "chief" or a "worker"; None alone.

    Raises:
        ValueError: some of the variables are missing.
    """
    names = ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")
    missing = [name for name in names if not os.environ.get(name)]
    if len(missing) == len(names):
        return None
    if missing:
        raise ValueError(f"A search on many machines needs {', '.join(names)}. Missing: {', '.join(missing)}")
    return "chief" if "chief" in os.environ["KERASTUNER_TUNER_ID"] else "worker"


def _address() -> tuple[str, str]:
    return os.environ["KERASTUNER_ORACLE_IP"], os.environ["KERASTUNER_ORACLE_PORT"]


def check_chief(patience: float) -> None:
    """Waits for a chief that is being started.

    Raises:
        ValueError: none answers.
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


def _limit_calls(seconds: float) -> None:
    """Sets after how long keras-tuner's client gives a call up, for all clients of this process; its own is an hour."""
    oracle_client.TIMEOUT = seconds


class PatientClient:
    """keras-tuner's client of a chief, whose calls are made again while the chief is being started again.

    Args:
        client: the client.
        patience: seconds without an answer behind which the chief counts as dead.
    """

    def __init__(self, client: Any, patience: float) -> None:
        self._client, self._patience = client, patience
        _limit_calls(patience)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        return self._again(found) if callable(found) else found

    def _again(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def patient(*args: Any, **kwargs: Any) -> Any:
            deadline = time.monotonic() + self._patience
            while True:
                try:
                    return call(*args, **kwargs)
                except grpc.RpcError as error:
                    if error.code() not in AGAIN or time.monotonic() > deadline:
                        raise ValueError(
                            f"The chief at {':'.join(_address())} does not answer any more ({error.code().name}). "
                            "Start it and this worker again: the search goes on from there."
                        ) from None
                    time.sleep(1)

        return patient


@contextlib.contextmanager
def alive(oracle: Any, trial_id: str, every: float) -> Iterator[None]:
    """Lets the chief know that a trial is being run, until it has ended."""
    ended = threading.Event()

    def tell() -> None:
        while not ended.wait(every):
            with contextlib.suppress(ValueError, grpc.RpcError):  # a chief that is away will be back, or be missed
                oracle.get_trial(trial_id)

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
