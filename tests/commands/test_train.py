"""`keras-resnet train`: its last lines."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import small_runs
from keras_resnet import cli
from keras_resnet.training.recipe import as_json


def test_a_finished_run_prints_its_result_and_what_to_try_next(command):
    shutil.copytree(small_runs.finished(), "run")
    before = small_runs.files(Path())
    status, out, err = command("train --recipe run/recipe.json --out run")
    assert (status, err) == (0, "This run is already finished; its results are in run\n")
    assert small_runs.files(Path()) == before
    summary = json.loads(Path("run/summary.json").read_text())
    assert f"{summary['test_error']:.2f} % test error after the last of 4 epochs" in out
    for name in ("curves.png", "history.csv", "model.keras"):
        assert f"run/{name}" in out
    commands = [
        line[line.index("keras-resnet") :].split("    ")[0] for line in out.splitlines() if " keras-resnet" in line
    ]
    assert len(commands) == 3
    for line in commands:
        cli._parser().parse_args(shlex.split(line)[1:])  # exits if the command line is not valid


def test_a_run_that_diverges_ends_with_one_line_and_status_3_and_its_last_good_checkpoint_is_usable(command):
    recipe = as_json(small_runs.small_recipe(**small_runs.EXPLOSIVE))
    Path("mine.json").write_text(json.dumps(recipe))
    status, out, err = command("train --recipe mine.json --out run")
    assert (status, [line.partition(" ")[0] for line in err.splitlines()]) == (3, ["Training", "keras-resnet:"])
    assert "diverged" in err and "epoch 2" in err and "--learning-rate" in err
    assert "The last good checkpoint is run/checkpoints/epoch_0001.keras" in err
    assert [path.name for path in Path("run/checkpoints").iterdir()] == ["epoch_0001.keras"]
    assert not Path("run/model.keras").exists() and not Path("run/summary.json").exists()
    arrays = small_runs.arrays(Path("run/checkpoints/epoch_0001.keras"))
    assert all(np.isfinite(value).all() for value in arrays.values())
    assert [row["epoch"] for row in small_runs.history(Path("run"))] == ["1"]

    status, out, _ = command("evaluate run/checkpoints/epoch_0001.keras digits --json")
    assert (status, json.loads(out)["images"]) == (0, small_runs.TESTED)
    np.save("image.npy", np.zeros((8, 8, 1), np.uint8))
    (result,) = json.loads(command("predict run/checkpoints/epoch_0001.keras image.npy --json")[1])
    assert sum(row["probability"] for row in result["classes"]) <= 1 + 1e-5


def test_a_probe_that_diverges_ends_with_a_line_that_names_its_own_rate(command):
    words = f"--weights {small_runs.finished()} --freeze-until features --probe-epochs 1 --probe-rate 1e30 --epochs 1"
    status, _, err = command(f"train digits {words} --batch-size 32 --out run")
    last = err.splitlines()[-1]
    assert status == 3 and "training diverged" in last and "A lower --probe-rate often helps" in last
    assert "--learning-rate" not in err


def test_the_commands_to_try_next_can_be_pasted_into_a_shell(command, monkeypatch):
    monkeypatch.setattr("keras_resnet.training.run.train", lambda *a, **k: SUMMARY)
    monkeypatch.setattr(sys, "argv", [".venv/bin/keras-resnet", "train", "digits"])
    monkeypatch.setenv("PATH", "/nowhere")
    assert "Try       .venv/bin/keras-resnet evaluate runs/digits-resnet20 digits\n" in command("train digits")[1]
    _, out, _ = command("train digits --out 'my runs/1' --data-dir 'my data'")
    assert "keras-resnet evaluate 'my runs/1' digits --data-dir 'my data'\n" in out
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert "Try       keras-resnet evaluate runs/digits-resnet20 digits\n" in command("train digits")[1]


def test_the_network_to_try_next_has_shortcuts_if_this_one_has_none(command, monkeypatch):
    monkeypatch.setattr("keras_resnet.training.run.train", lambda *a, **k: SUMMARY)
    for model, other in (
        ("resnet20", "plainnet56"),
        ("plainnet56", "resnet56"),
        ("resnet20 --shortcut none", "resnet56"),
    ):
        assert f"train digits --model {other} --epochs" in command(f"train digits --model {model}")[1]
    _, out, _ = command(f"train digits --weights {small_runs.finished()}")
    assert "--model" not in out and "predict runs/digits-resnet8 IMAGE --explain FOLDER " in out


@pytest.mark.parametrize("path", ["photos", "my/photos/", "my/photos/../photos"])
def test_the_default_folder_of_a_run_is_named_after_the_data_and_the_network(command, monkeypatch, path):
    folders = []
    monkeypatch.setattr("keras_resnet.training.run.train", lambda recipe, out, *_: folders.append(out) or SUMMARY)
    assert command(f"train folder:{path} --model resnet18")[0] == 0
    assert folders == [Path("runs/photos-resnet18")]


SUMMARY = {"test_error": 2.0, "epochs": 60, "seconds": 50.0, "parameters": 269434}
