"""Runs a training, and runs it again killed at random moments. A program, for `test_kills.py`.

    python killed_runs.py FOLDER KILLS SEED

Leaves FOLDER/whole and FOLDER/killed, and prints a line a kill.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from keras_resnet import backend

ENGINE = backend.settle()

import small_runs  # noqa: E402
from keras_resnet import cli  # noqa: E402

COMMAND = (
    "train digits --model resnet8 --width 0.25 --shortcut B --stochastic-depth 0.5 --ema 0.5 --schedule cosine "
    "--batch-size 32 --epochs 12 --save-every 1e-9"  # a checkpoint at every step
)


def run(out: Path) -> int:
    small_runs.take_few_digits()
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    return cli.main([*COMMAND.split(), "--out", str(out)])


def start(out: Path) -> int:
    """Starts the run in a process of its own; returns its number.

    On Torch a fork of this process, which has imported Keras but used nothing of it, so that a start costs no import.
    TensorFlow and JAX have threads as soon as they are imported, which a fork does not survive.
    """
    if ENGINE != "torch":
        return subprocess.Popen([sys.executable, __file__, str(out)]).pid
    child = os.fork()
    if not child:
        os._exit(run(out))
    return child


def where(out: Path) -> str:
    """How far a run is."""
    checkpoints = sorted(path.stem for path in (out / "checkpoints").glob("epoch_*.keras"))
    return checkpoints[-1] if checkpoints else "nothing"


def wait(out: Path, before: str, child: int) -> float:
    """Waits until a run is further than it was, or has ended; returns the time."""
    while where(out) == before and os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        time.sleep(0.01)
    return time.monotonic()


def ended() -> int:
    """Waits for the process that was started last; returns its status, minus the signal's number if one ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(-1, 0)[1])


def main(folder: Path, kills: int, seed: int) -> None:
    if ENGINE == "torch":
        from keras_resnet.training import run as _  # noqa: F401  imports Keras

    whole, killed = folder / "whole", folder / "killed"
    begun = time.monotonic()
    until_a_step = wait(whole, "nothing", start(whole)) - begun
    assert ended() == 0

    moments = random.Random(seed)
    print(f"{ENGINE}: {until_a_step:.2f} s to the first step, seed {seed}")
    for number in range(1, kills + 1):
        begun, before = time.monotonic(), where(killed)
        child = start(killed)
        if number % 2:  # while it starts, restores and compiles
            time.sleep(moments.uniform(0, until_a_step))
        else:  # while it trains and writes
            wait(killed, before, child)
            time.sleep(moments.uniform(0, 0.5))
        os.kill(child, signal.SIGKILL)
        moment = time.monotonic() - begun
        print(f"kill {number:2} after {moment:6.3f} s: {where(killed)}, status {ended()}", flush=True)
    start(killed)
    assert ended() == 0


if __name__ == "__main__":
    if len(sys.argv) == 2:
        sys.exit(run(Path(sys.argv[1])))
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
