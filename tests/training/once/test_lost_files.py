"""A run that has lost files, or whose files are damaged, is resumed from what is left."""

from __future__ import annotations

import errno
import os
import signal

import keras

import small_runs
from keras_resnet.cli import main


def test_a_run_whose_recipe_is_lost_resumes_by_that_of_its_newest_intact_checkpoint(tmp_path, capsys, signal_in, start):
    """Some clusters remove files that have not changed for weeks, of which the recipe is the first."""
    out = tmp_path / "run"
    signal_in(3, 2, signal.SIGTERM)
    assert start(out) == 75
    signal_in(0, 0)
    recipe, newest = out / "recipe.json", out / "checkpoints" / "epoch_0002_step_000002.keras"
    newest.write_bytes(newest.read_bytes()[:-1000])
    recipe.write_bytes(recipe.read_bytes()[:100])
    assert start(out) == 2
    assert "recipe.json' is damaged" in (err := capsys.readouterr().err) and "Delete it if there are checkpoints" in err
    recipe.unlink()
    assert main(["train", "digits", "--model", "resnet8", "--out", str(out)]) == 2
    assert "holds another run: " in capsys.readouterr().err and not recipe.exists()
    assert start(out) == 0
    assert "Resuming after epoch 2 of 4." in capsys.readouterr().err
    assert small_runs.results(out) == small_runs.results(small_runs.finished())


def test_a_damaged_summary_is_written_again_once_it_is_deleted(tmp_path, capsys, start):
    out = tmp_path / "run"
    assert start(out) == 0
    for damaged in ("", "{}"):
        (out / "summary.json").write_text(damaged)
        assert start(out) == 2
        assert "Delete it: the same command then writes it again" in capsys.readouterr().err
    (out / "summary.json").unlink()
    assert start(out) == 0
    assert small_runs.results(out) == small_runs.results(small_runs.finished())


def test_a_run_whose_checkpoints_cannot_be_listed_does_not_start_over(tmp_path, monkeypatch, capsys, signal_in, start):
    """As on a disk that is shared and answers late, or that another user has closed."""
    out = tmp_path / "run"
    signal_in(2, 2, signal.SIGTERM)
    assert start(out) == 75
    before = small_runs.files(out)

    def refusing(listing):
        def refuse(path="."):
            if str(path) == str(out / "checkpoints"):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return listing(path)

        return refuse

    signal_in(0, 0)
    with monkeypatch.context() as patch:
        for name in ("listdir", "scandir"):
            patch.setattr(os, name, refusing(getattr(os, name)))
        assert start(out) == 2
    assert f"Permission denied: '{out / 'checkpoints'}'" in capsys.readouterr().err
    assert small_runs.files(out) == before


def test_a_checkpoint_for_which_there_is_no_memory_is_not_called_damaged(
    tmp_path, monkeypatch, capsys, signal_in, start
):
    """The advice for damaged checkpoints is to delete the folder."""
    out = tmp_path / "run"
    signal_in(2, 2, signal.SIGTERM)
    assert start(out) == 75
    signal_in(0, 0)

    def load_weights(*_):
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(keras.Model, "load_weights", load_weights)
    capsys.readouterr()
    assert start(out) == 2
    assert capsys.readouterr().err.startswith("keras-resnet: error: out of memory. Choose a smaller --batch-size")
