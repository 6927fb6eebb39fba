"""Runs on many devices and in many processes, as launchers start them, on one machine's processor.

Each is the command line in processes of its own, since devices are settled when an engine starts.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

TESTS = Path(__file__).resolve().parent

# What a process does before the command: forced devices, few digits, and a copy of its weights in the end.
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
def keep_weights(feed, networks, *rest):
    np.savez(settings["weights"], *networks.logits_model.get_weights())
    return finish(feed, networks, *rest)
run.finish = keep_weights
status = main(sys.argv[1:])
run.finish = finish
for words in settings["behind"]:
    if status:
        print("It ended with status", status, file=sys.stderr)
    with contextlib.redirect_stdout(io.StringIO()):
        status = main(words)
sys.exit(status)
"""


def environments(processes: int) -> list[dict[str, str]]:
    """What the launcher of this backend tells its processes."""
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
    behind: Sequence[Sequence[str]] = (),
    more: dict[str, str] | None = None,
) -> Iterator[list[subprocess.Popen[str]]]:
    """Starts the command; in the end, none of its processes is left.

    Args:
        arguments: those of `keras-resnet`.
        processes: how many.
        forced: devices that the processor is taken for; 0 for what it is.
        side: of the digits, as far as anybody knows before they are read; 0 for what it is.
        weights: where each process keeps its weights, with its number behind it.
        signals: the epoch and step in which one comes to the last of the processes, and its number.
        behind: further commands, in the same processes; what these write to stdout is lost.
        more: further variables of the environment.
    """
    running = []
    for rank, launcher in enumerate(environments(processes)):
        settings = {
            "forced": forced,
            "side": side,
            "signals": signals if rank == processes - 1 else (),
            "behind": behind,
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
    """What each process has come to: its status, and what it wrote to stdout and stderr."""
    written = [process.communicate(timeout=600) for process in running]
    return [(process.returncode, *text) for process, text in zip(running, written, strict=True)]


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command as a user would, in a process of its own."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        shlex.split(line), env={**os.environ, "PATH": path, **environment}, capture_output=True, text=True
    )
