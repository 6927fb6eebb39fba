"""A run that was interrupted and resumed ends bit-identical to one that was not; see also `once`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import small_runs
from keras_resnet.cli import main
from keras_resnet.training.run import train

TESTS = Path(__file__).resolve().parents[1]


def test_a_run_killed_in_its_third_epoch_loses_that_epoch_only_and_ends_bit_equal(tmp_path, capsys):
    """With the state of optimizer, learning rate, warm-up, data order, dropout, stochastic depth and averaged weights.

    The uninterrupted run is a separate one; only its recipe.json is used.
    """
    out = tmp_path / "run"
    command = ["train", "--recipe", str(small_runs.finished() / "recipe.json"), "--out", str(out), "--json"]
    program = (
        "from keras_resnet import backend; backend.select_backend()\n"
        "import sys, small_runs; small_runs.take_few_digits(); small_runs.signal_in(epoch=3, step=2)\n"
        "from keras_resnet.cli import main\n"
        "main(sys.argv[1:])"
    )
    environment = {**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"}
    done = subprocess.run([sys.executable, "-c", program, *command], env=environment, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    # The device and Keras's progress, but no messages of libraries
    stderr = done.stderr.decode()
    assert all(line.startswith(("Training on ", "Epoch ", "3/3 ")) for line in stderr.splitlines()), stderr
    assert sorted(path.name for path in out.rglob("*") if path.is_file()) == [
        ".lock",
        "epoch_0001.keras",
        "epoch_0002.keras",
        "history.csv",
        "recipe.json",
    ]
    assert [row["epoch"] for row in small_runs.history(out)] == ["1", "2"]
    (out / "checkpoints" / ".partial-1-epoch_0003.keras").write_bytes(
        b"left by a process that was killed while writing"
    )

    capsys.readouterr()
    assert main(command) == 0
    stdout, stderr = capsys.readouterr()
    assert small_runs.results(out) == small_runs.results(small_runs.finished())
    assert list(out.rglob(".*")) == [out / ".lock"]
    assert stderr.startswith("Resuming after epoch 2 of 4.\n")
    assert "Epoch 4/4" in stderr  # Keras's progress is shown, while stdout holds only the result
    assert json.loads(stdout) == json.loads((out / "summary.json").read_text())


def test_random_masks_augmentation_and_muon_s_momentum_resume_where_they_stopped(stopped_alike):
    """With masks on shortcuts (2016, figure 2f), except for the projections at the beginning of stages."""
    network = {"stage_units": (2, 1), "skip": "dropout", "skip_dropout": 0.5}
    augmentation = {"erasing": 0.5, "mixup": 0.5, "cutmix": 1.0}
    whole = stopped_alike(
        small_runs.small_recipe(epochs=2, network=network, optimizer="muon", ema=0.5, **augmentation), 2, 2
    )
    config = small_runs.config(whole / "model.keras")
    assert '"Dropout"' in config
    assert "MixUp" not in config and "RandomErasing" not in config  # used in training only


def test_a_truncated_checkpoint_is_reported_and_the_one_before_it_used(tmp_path):
    """In a run that was killed after its last epoch."""
    out = Path(shutil.copytree(small_runs.finished(), tmp_path / "run"))
    for name in ("summary.json", "model.keras"):
        (out / name).unlink()
    newest = out / "checkpoints" / "epoch_0004.keras"
    newest.write_bytes(newest.read_bytes()[:-1000])
    lines = []
    train(small_runs.small_recipe(**small_runs.STATEFUL), out, say=lines.append)
    skipped, resuming, _ = lines
    assert "damaged" in skipped and "epoch_0004.keras" in skipped
    assert resuming == "Resuming after epoch 3 of 4."
    assert small_runs.results(out) == small_runs.results(small_runs.finished())
