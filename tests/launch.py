"""Runs on several devices and in several processes, as launchers start them, on the processor of one machine.

Each runs the command in its own processes, since the devices are fixed once a backend has started.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

TESTS = Path(__file__).resolve().parent

# What each process executes: it sets up virtual devices and few digits, runs the command and saves its weights.
PROGRAM = """
import contextlib, io, json, os, sys
settings = json.loads(sys.argv.pop(1))
from keras_resnet import backend
backend.select_backend()
if settings["forced"] and os.environ["KERAS_BACKEND"] == "jax":
    import keras_resnet.backend.jax_devices as engine
    engine.cores = lambda: settings["forced"]
elif settings["forced"]:
    import tensorflow as tf
    one, each = tf.config.list_physical_devices("CPU")[0], tf.config.LogicalDeviceConfiguration()
    tf.config.set_logical_device_configuration(one, [each] * settings["forced"])
import numpy as np
import small_runs
from keras_resnet.cli import main
small_runs.take_few_digits()
if settings["side"]:
    small_runs.take_them_for_larger(settings["side"])
for number in settings["signals"]:
    small_runs.signal_in(*number)
from keras_resnet.training import callbacks, feed, run
callbacks.AGREE_EVERY = 1
feed.TEST_BATCH = 20  # several batches, the last of which is not full
finish = run.finish
def keep_weights(context, networks, *rest):
    np.savez(settings["weights"], *networks.logits_model.get_weights())
    return finish(context, networks, *rest)
run.finish = keep_weights
status = main(sys.argv[1:])
run.finish = finish
for words in settings["then"]:
    if status:
        print("It ended with status", status, file=sys.stderr)
    with contextlib.redirect_stdout(io.StringIO()):
        status = main(words)
sys.exit(status)
"""


# Prepended to a program to run it as on a machine without some packages, whose names replace ABSENT.
ABSENCE = """
import sys
from importlib.machinery import PathFinder

class Absence(PathFinder):
    @staticmethod
    def find_spec(name, path=None, target=None):
        return None if name.partition(".")[0] in ABSENT else PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Absence
"""


def without(packages: Iterable[str], program: str) -> list[str]:
    """Returns the command that runs a program in a new process, in which some packages are absent."""
    return [sys.executable, "-c", ABSENCE.replace("ABSENT", repr(sorted(packages))) + program]


def plain_keras(program: str, *arguments: str) -> list[str]:
    """Returns the command that runs a program of Keras alone, without what Keras imports if it finds it.

    It needs none of these packages on this backend, and importing them takes seconds.
    """
    import keras

    return [*without({"tensorflow", "jax", "sklearn", "matplotlib"} - {keras.backend.backend()}, program), *arguments]


def environments(processes: int) -> list[dict[str, str]]:
    """Returns the environment variables that this backend's launcher sets in each of its processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    if processes == 1:
        return [{}]
    if os.environ["KERAS_BACKEND"] == "torch":
        shared = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        return [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]
    shared = {
        "KERAS_DISTRIBUTION_JOB_ADDRESSES": f"127.0.0.1:{port}",
        "KERAS_DISTRIBUTION_NUM_PROCESSES": str(processes),
    }
    return [{**shared, "KERAS_DISTRIBUTION_PROCESS_ID": str(rank)} for rank in range(processes)]


@contextlib.contextmanager
def started(
    *arguments: str,
    processes: int = 1,
    forced: int = 0,
    side: int = 0,
    weights: Path = Path("weights"),
    signals: Sequence[tuple[int, int, int]] = (),
    then: Sequence[Sequence[str]] = (),
    more: dict[str, str] | None = None,
) -> Iterator[list[subprocess.Popen[str]]]:
    """Context manager that starts the command, and kills its processes at the end.

    Args:
        arguments: the arguments of `keras-resnet`.
        processes: the number of processes.
        forced: the number of virtual devices of the processor; 0 for its default.
        side: the size of the digits as declared by their data set before they are read; 0 for the true one.
        weights: path prefix of the files in which the processes save their weights: "0.npz" and so on is appended.
        signals: signals sent to the last process, each as its epoch, step and number.
        then: further commands to run in the same processes afterwards; their stdout is discarded.
        more: further environment variables.
    """
    running = []
    for rank, launcher in enumerate(environments(processes)):
        settings = {
            "forced": forced,
            "side": side,
            "signals": signals if rank == processes - 1 else (),
            "then": then,
            "weights": f"{weights}{rank}.npz",
        }
        environment = {**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}", **launcher, **(more or {})}
        running.append(
            subprocess.Popen(
                [sys.executable, "-c", PROGRAM, json.dumps(settings), *arguments],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.wait()


def ended(running: list[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    """Waits for the processes; returns the status, stdout and stderr of each."""
    written = [process.communicate(timeout=600) for process in running]
    return [(process.returncode, *text) for process, text in zip(running, written, strict=True)]


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command as a user would, in a subprocess."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        shlex.split(line), env={**os.environ, "PATH": path, **environment}, capture_output=True, text=True
    )
