"""A run that is killed at random moments and restarted each time ends bit-identical to one that was never killed.

What a killed run leaves are files; that every backend resumes from them exactly is tested in `test_resume.py` and
`test_interruption.py`. Twenty kills on Torch; two on TensorFlow and JAX, where a start takes many times as long: one
while the run trains and writes, one while it starts, restores and compiles. Set `KILLS=20` for more.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import keras

import small_runs
from keras_resnet.cli import main

TESTS = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("KILLS", 20 if keras.backend.backend() == "torch" else 2))
WORDS = (
    "train digits --model resnet8 --stage-units 1,1 --stage-filters 4,8 --shortcut B --stochastic-depth 0.5 --ema 0.5 "
    f"--schedule cosine --batch-size 32 --epochs {max(4, KILLS)} --save-every 1e-9"  # a checkpoint at every step
).split()


def test_a_run_killed_at_random_moments_ends_bit_equal(tmp_path):
    assert main([*WORDS, "--out", str(tmp_path / "whole")]) == 0
    seed = int.from_bytes(os.urandom(2))
    done = subprocess.run(
        [sys.executable, TESTS / "training" / "killed_runs.py", tmp_path / "killed", str(KILLS), str(seed), *WORDS],
        env={**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"},
        capture_output=True,
        text=True,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    reached = re.findall(r"kill +\d+ after .* s: (\w+), status (-?\d+)", done.stdout)
    assert len(reached) == KILLS
    assert {status for _, status in reached} <= {"-9", "0"}
    assert small_runs.results(tmp_path / "killed") == small_runs.results(tmp_path / "whole")
