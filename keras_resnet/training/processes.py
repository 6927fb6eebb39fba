"""Runs of the `keras-resnet` command in subprocesses, in parallel on the devices and cores of a machine."""

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
from .interruption import PARENT

MESSAGE_PREFIX = "keras-resnet: "  # prefix of the line in which the command says why it ended
# Environment variables with which JAX and TensorFlow allocate the GPU memory they need, not all of it.
SHARED_GPU = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}


class Processes:
    """Runs the command in subprocesses; as a context manager, stops all of them if an exception is raised.

    Args:
        workers: number of runs in parallel.
        backend: Keras backend of all runs; None for the one of the environment.
    """

    def __init__(self, workers: int, backend: str | None = None) -> None:
        self.backend = backend
        # A single worker uses all GPUs and cores.
        self.gpus = gpus() if workers > 1 else ()
        self.cores = _core_sets(workers) if workers > 1 else ()
        self._free: queue.SimpleQueue[int] = queue.SimpleQueue()  # idle workers
        for worker in range(workers):
            self._free.put(worker)
        self._running: set[subprocess.Popen[str]] = set()
        self._lock, self._stopped = threading.Lock(), False

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type | None, *_: Any) -> None:
        if kind is not None:
            self.stop()

    def stop(self) -> None:
        """Asks every run to save its progress and end; no further run is started."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.send_signal(signal.SIGTERM)

    def run(self, words: list[str], should_stop: Callable[[], bool] | None = None) -> tuple[int, str, str]:
        """Runs the command in a subprocess, once a worker is idle.

        Args:
            words: the arguments of the command, such as `["train", "digits"]`.
            should_stop: called every second; once it returns True, the run is asked to save its progress and end.

        Returns:
            Its exit status, its standard output and its standard error.
        """
        worker = self._free.get()
        try:
            return self._run(words, worker, should_stop)
        finally:
            self._free.put(worker)

    def _run(self, words: list[str], worker: int, should_stop: Callable[[], bool] | None) -> tuple[int, str, str]:
        with self._lock:
            if self._stopped:
                return Status.TRY_AGAIN, "", "not started"
            # In a session of its own: an interrupt from the keyboard reaches only this process, which stops the others.
            backend = ["--backend", self.backend] if self.backend else []
            process = start([*words, *backend], _device(worker, self.gpus), start_new_session=True)
            self._running.add(process)
        if self.cores:
            with contextlib.suppress(ProcessLookupError):  # the process may have ended already
                os.sched_setaffinity(process.pid, self.cores[worker])  # before it reads the number of its cores
        stdout, stderr = self._wait(process, should_stop)
        with self._lock:
            self._running.discard(process)
        return process.returncode, stdout, stderr

    @staticmethod
    def _wait(process: subprocess.Popen[str], should_stop: Callable[[], bool] | None) -> tuple[str, str]:
        while should_stop is not None:
            try:
                return process.communicate(timeout=1)
            except subprocess.TimeoutExpired:
                if should_stop():
                    process.send_signal(signal.SIGTERM)
                    break
        return process.communicate()


def start(words: Sequence[str], environment: Mapping[str, str], **more: Any) -> subprocess.Popen[str]:
    """Starts the `keras-resnet` command in a subprocess that belongs to no distributed launch.

    It stops, as at SIGTERM, if this process ends before it.

    Args:
        words: the arguments of the command, such as `["train", "digits"]`.
        environment: environment variables to add to this process's, or to change.
        **more: further arguments of `subprocess.Popen`; by default, both outputs are pipes.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "keras_resnet", *words],
        env={**environment_without_launcher(), PARENT: str(os.getpid()), **environment},
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **more},
    )


def epochs_done(folder: Path) -> int:
    """Returns the number of completed epochs of the run in a folder."""
    history = folder / "history.csv"
    return max(0, len(history.read_text(encoding="utf-8").splitlines()) - 1) if history.is_file() else 0


def last_line(stderr: str) -> str:
    """Returns the last line of a run's standard error, which says why it ended, without the name of the command."""
    line = next(iter(stderr.strip().splitlines()[-1:]), "")
    return line.removeprefix(MESSAGE_PREFIX).removeprefix("error: ")


def _device(worker: int, gpus: Sequence[str]) -> dict[str, str]:
    """Returns the environment that assigns a GPU to a worker; workers may share one, so none allocates all memory."""
    if not gpus:
        return {}
    return {"CUDA_VISIBLE_DEVICES": gpus[worker % len(gpus)], **SHARED_GPU}


def _core_sets(workers: int) -> list[set[int]]:
    """Divides the cores among the workers; returns an empty list if that is not possible.

    With small networks on two cores, two runs in parallel train a quarter faster than one after the other on both.
    """
    if not hasattr(os, "sched_setaffinity"):  # only Linux has it
        return []
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < workers:
        return []
    return [set(cores[worker::workers]) for worker in range(workers)]
