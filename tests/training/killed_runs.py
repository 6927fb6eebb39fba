"""Runs a training killed at random moments. A program, for `test_kills.py`.

    python killed_runs.py FOLDER KILLS SEED WORDS...

The words are those of `keras-resnet` but for FOLDER, which the run leaves. Prints a line a kill.
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

ENGINE = backend.select_backend()

import small_runs  # noqa: E402
from keras_resnet import cli  # noqa: E402

START = "start"  # a word in KILLS's place: run once


def run(out: Path, words: list[str]) -> int:
    small_runs.take_few_digits()
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    return cli.main([*words, "--out", str(out)])


def start(out: Path, words: list[str]) -> int:
    """Starts the run in a process of its own; returns its number.

    On Torch a fork of this process, which has imported Keras but used nothing of it, so that a start costs no import.
    TensorFlow and JAX have threads as soon as they are imported, which a fork does not survive.
    """
    if ENGINE != "torch":
        return subprocess.Popen([sys.executable, __file__, str(out), START, *words]).pid
    child = os.fork()
    if not child:
        os._exit(run(out, words))
    return child


def where(out: Path) -> str:
    """How far a run is."""
    checkpoints = sorted(path.stem for path in (out / "checkpoints").glob("epoch_*.keras"))
    return checkpoints[-1] if checkpoints else "nothing"


def wait(out: Path, before: str, child: int) -> None:
    """Waits until a run is further than it was, or has ended."""
    while where(out) == before and os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        time.sleep(0.01)


def ended() -> int:
    """Waits for the process that was started last; returns its status, minus the signal's number if one ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(-1, 0)[1])


def main(out: Path, kills: int, seed: int, words: list[str]) -> None:
    if ENGINE == "torch":
        from keras_resnet.training import run as _  # noqa: F401  imports Keras

    moments, until_a_step = random.Random(seed), 0.0
    for number in range(1, kills + 1):
        begun, before = time.monotonic(), where(out)
        child = start(out, words)
        if number % 2:  # while it trains and writes
            wait(out, before, child)
            until_a_step = until_a_step or time.monotonic() - begun
            time.sleep(moments.uniform(0, 0.5))
        else:  # while it starts, restores and compiles
            time.sleep(moments.uniform(0, until_a_step))
        os.kill(child, signal.SIGKILL)
        moment = time.monotonic() - begun
        print(f"kill {number:2} after {moment:6.3f} s: {where(out)}, status {ended()}", flush=True)
    print(f"{ENGINE}: {until_a_step:.2f} s to the first step, seed {seed}")
    start(out, words)
    assert ended() == 0


if __name__ == "__main__":
    out, kills, *rest = sys.argv[1:]
    if kills == START:
        sys.exit(run(Path(out), rest))
    main(Path(out), int(kills), int(rest[0]), rest[1:])
