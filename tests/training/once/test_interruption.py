"""A run that is asked to stop, at any moment and by any signal, or cannot write, loses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import small_runs
from keras_resnet.training.machine import Machine
from keras_resnet.training.run import train

TESTS = Path(__file__).resolve().parents[2]


def test_sigusr1_too_asks_a_run_to_stop(tmp_path, capsys, signal_in, start):
    """As Slurm has it before a limit of time; what such a run ends as, `test_interruption` shows of SIGTERM."""
    before = signal.getsignal(signal.SIGUSR1)
    signal_in(1, 2, signal.SIGUSR1)
    assert start(tmp_path / "run") == 75
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("keras-resnet: SIGUSR1 came, and the run is saved behind epoch 0 and 2 steps.")
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["epoch_0000_step_000002.keras"]
    assert signal.getsignal(signal.SIGUSR1) == before


FULL_DISK = """
import resource, signal, sys
from keras_resnet import backend; backend.settle()
import keras, small_runs
from keras_resnet import saving
from keras_resnet.cli import main
small_runs.take_few_digits()
save = saving.save
def fills_up(model, path, info):
    if len(info["history"]) == 2:
        limit = (out / "checkpoints" / "epoch_0001.keras").stat().st_size - int(sys.argv[2])
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    save(model, path, info)
saving.save = fills_up
from pathlib import Path
out = Path(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
sys.exit(main(["train", "--recipe", sys.argv[3], "--out", str(out)]))
"""


def test_a_disk_that_is_full_in_the_midst_of_a_checkpoint_ends_in_a_line_and_costs_no_checkpoint(tmp_path, start):
    """The kernel refuses to write on in the last member of the file, and, of the run that goes on, in its first."""
    out = tmp_path / "run"
    for missing, going_on in ((100, []), (20_000, ["Going on behind epoch 1 of 4."])):
        done = subprocess.run(
            [sys.executable, "-c", FULL_DISK, out, str(missing), small_runs.finished() / "recipe.json"],
            env={**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2, done.stderr
        *before, line = done.stderr.splitlines()
        assert before == going_on
        assert "File too large" in line and line.startswith("keras-resnet: error:")
        assert [path.name for path in (out / "checkpoints").iterdir()] == ["epoch_0001.keras"]
    assert start(out) == 0
    assert small_runs.results(out) == small_runs.results(small_runs.finished())


def test_a_folder_that_cannot_be_written_is_told_in_a_line(start, capsys):
    capsys.readouterr()
    assert start("/sys/run") == 2
    err = capsys.readouterr().err
    assert (err.count("\n"), "/sys/run" in err) == (1, True)


def test_a_machine_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match=r"`save_every` must be above 0. Received: 0"):
        Machine(save_every=0)


def test_a_request_behind_the_last_step_of_all_lets_the_run_end(tmp_path, signal_in, start):
    signal_in(4, 3, signal.SIGTERM)
    assert start(tmp_path / "run") == 0
    assert small_runs.results(tmp_path / "run") == small_runs.results(small_runs.finished())


def test_a_run_is_saved_every_so_many_minutes(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(
        "keras_resnet.training.folder.RunFolder.write_checkpoint",
        lambda self, model, seeds, progress: written.append((len(progress.history), progress.step)),
    )
    for minutes in (1e-9, 60):
        machine = Machine(save_every=minutes)
        train(small_runs.small_recipe(), tmp_path / str(minutes), say=lambda line: None, machine=machine)
    assert written == [(0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (1, 0), (2, 0)]


def test_a_checkpoint_from_the_midst_of_an_epoch_that_is_torn_gives_way_to_the_one_before(
    tmp_path, capsys, signal_in, start
):
    out = tmp_path / "run"
    signal_in(3, 2, signal.SIGTERM)
    assert start(out) == 75
    newest = out / "checkpoints" / "epoch_0002_step_000002.keras"
    newest.write_bytes(newest.read_bytes()[:-1000])
    signal_in(0, 0)
    assert start(out) == 0
    told = capsys.readouterr().err
    assert f"Passing over a damaged checkpoint. {newest.name}" in told
    assert "Going on behind epoch 2 of 4." in told
    assert small_runs.results(out) == small_runs.results(small_runs.finished())
