"""Kills a training run at random moments and resumes it. A program, for `test_kills.py`.

    python killed_runs.py FOLDER KILLS SEED WORDS...

WORDS are the arguments of `keras-resnet`, without `--out`, for which FOLDER is used. Prints a line for each kill.
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

START = "start"  # in place of KILLS: run once, without kills


def run(out: Path, words: list[str]) -> int:
    small_runs.take_few_digits()
    with open(os.devnull, "w") as devnull:
        os.dup2(devnull.fileno(), 1)
    return cli.main([*words, "--out", str(out)])


def start(out: Path, words: list[str]) -> int:
    """Starts the run in a subprocess; returns its process id.

    On Torch, it is a fork of this process, which has imported Keras without using it, so that no start waits for the
    import. TensorFlow and JAX start threads when they are imported, which do not survive a fork.
    """
    if ENGINE != "torch":
        return subprocess.Popen([sys.executable, __file__, str(out), START, *words]).pid
    child = os.fork()
    if not child:
        os._exit(run(out, words))
    return child


def newest_checkpoint(out: Path) -> str:
    """Returns the name of a run's newest checkpoint, or "nothing"."""
    checkpoints = sorted(path.stem for path in (out / "checkpoints").glob("epoch_*.keras"))
    return checkpoints[-1] if checkpoints else "nothing"


def wait(out: Path, before: str, child: int) -> None:
    """Waits until a run has written another checkpoint than `before`, or has ended."""
    while newest_checkpoint(out) == before and os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        time.sleep(0.01)


def exit_status() -> int:
    """Waits for the subprocess; returns its exit status, or minus the signal's number if one ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(-1, 0)[1])


def main(out: Path, kills: int, seed: int, words: list[str]) -> None:
    if ENGINE == "torch":
        from keras_resnet.training import run as _  # noqa: F401  imports Keras

    rng, until_first_step = random.Random(seed), 0.0
    for number in range(1, kills + 1):
        started, before = time.monotonic(), newest_checkpoint(out)
        child = start(out, words)
        if number % 2:  # while it trains and writes
            wait(out, before, child)
            until_first_step = until_first_step or time.monotonic() - started
            time.sleep(rng.uniform(0, 0.5))
        else:  # while it starts, restores and compiles
            time.sleep(rng.uniform(0, until_first_step))
        os.kill(child, signal.SIGKILL)
        moment = time.monotonic() - started
        print(f"kill {number:2} after {moment:6.3f} s: {newest_checkpoint(out)}, status {exit_status()}", flush=True)
    print(f"{ENGINE}: {until_first_step:.2f} s to the first step, seed {seed}")
    start(out, words)
    assert exit_status() == 0


if __name__ == "__main__":
    out, kills, *rest = sys.argv[1:]
    if kills == START:
        sys.exit(run(Path(out), rest))
    main(Path(out), int(kills), int(rest[0]), rest[1:])
