"""Runs of the `keras-resnet` command in processes of their own, side by side on the devices and cores of a machine."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..backend.devices import environment_without_launcher
from ..host import gpus
from ..status import Status

NAMED = "keras-resnet: "  # what the line begins with by which the command says what ended it
# The environment in which JAX and TensorFlow take of a GPU's memory what they need, and not all of it.
SHARED_GPU = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}


class Processes:
    """Runs the command in processes, and has all of them stop when this one is interrupted.

    Args:
        workers: how many run side by side.
    """

    def __init__(self, workers: int) -> None:
        # One run after the other takes all that there are.
        self.gpus = gpus() if workers > 1 else ()
        self.cores = _shares(workers) if workers > 1 else ()
        self._free: queue.SimpleQueue[int] = queue.SimpleQueue()  # workers that have nothing to do
        for worker in range(workers):
            self._free.put(worker)
        self._running: set[subprocess.Popen] = set()
        self._lock, self._stopped = threading.Lock(), False

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, *_: Any) -> None:
        if kind is not None:
            self.stop()

    def stop(self) -> None:
        """Asks every run to save what it has and to end; no further one begins."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.send_signal(signal.SIGTERM)

    def run(self, words: list[str], hopeless: Callable[[], bool] | None = None) -> tuple[int, str, str]:
        """Runs the command with these words, when a worker has nothing else to do.

        Args:
            words: such as `["train", "digits"]`.
            hopeless: asked every second; when it says so, the run is asked to save what it has and to end.

        Returns:
            Its status, what it printed, and what it said on stderr.
        """
        worker = self._free.get()
        try:
            return self._run(words, worker, hopeless)
        finally:
            self._free.put(worker)

    def _run(self, words: list[str], worker: int, hopeless: Callable[[], bool] | None) -> tuple[int, str, str]:
        with self._lock:
            if self._stopped:
                return Status.TRY_AGAIN, "", "not begun"
            # In a session of its own: an interrupt from the keyboard is for this process, which asks them to stop.
            process = start(words, _device(worker, self.gpus), start_new_session=True)
            self._running.add(process)
        if self.cores:
            with contextlib.suppress(ProcessLookupError):  # it has ended already
                os.sched_setaffinity(process.pid, self.cores[worker])  # before it has asked how many there are
        printed, told = self._wait(process, hopeless)
        with self._lock:
            self._running.discard(process)
        return process.returncode, printed, told

    @staticmethod
    def _wait(process: subprocess.Popen, hopeless: Callable[[], bool] | None) -> tuple[str, str]:
        while hopeless is not None:
            try:
                return process.communicate(timeout=1)
            except subprocess.TimeoutExpired:
                if hopeless():
                    process.send_signal(signal.SIGTERM)
                    break
        return process.communicate()


def start(words: Sequence[str], environment: Mapping[str, str], **more: Any) -> subprocess.Popen[str]:
    """Starts the `keras-resnet` command in a process of its own, which trains alone.

    Args:
        words: such as `["train", "digits"]`.
        environment: variables that are others than this process's.
        **more: as `subprocess.Popen` takes it; otherwise both outputs are pipes.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "keras_resnet.cli", *words],
        env={**environment_without_launcher(), **environment},
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **more},
    )


def epochs_done(folder: Path) -> int:
    """How many epochs of the run in a folder are done, whoever is at it."""
    history = folder / "history.csv"
    return max(0, len(history.read_text(encoding="utf-8").splitlines()) - 1) if history.is_file() else 0


def last_line(told: str) -> str:
    """The last that a run said: what ended it, without the name of the command."""
    line = next(iter(told.strip().splitlines()[-1:]), "")
    return line.removeprefix(NAMED).removeprefix("error: ")


def _device(worker: int, gpus: Sequence[str]) -> dict[str, str]:
    """The environment in which a worker has a GPU of its own, or shares one: none then takes all of its memory."""
    if not gpus:
        return {}
    return {"CUDA_VISIBLE_DEVICES": gpus[worker % len(gpus)], **SHARED_GPU}


def _shares(workers: int) -> list[set[int]]:
    """The cores of each worker; none where they cannot be shared out.

    Small networks on two cores: two runs side by side train a quarter faster than one after the other, each on both.
    """
    if not hasattr(os, "sched_setaffinity"):  # Linux alone has it
        return []
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < workers:
        return []
    return [set(cores[worker::workers]) for worker in range(workers)]
