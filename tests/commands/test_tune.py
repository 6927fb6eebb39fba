"""`keras-resnet tune`."""

from __future__ import annotations

import json
from pathlib import Path

import keras

from keras_resnet.training.interruption import StoppedError
from keras_resnet.tuning.search import Search


def test_tune_searches_and_goes_on(command):
    line = "tune digits --space shape --set units_per_stage=1 --set width=0.25,0.5 --set shortcut=B --epochs 1 --out s"
    line = f"{line} --tuner random --images 32 --validation 20 --backend {keras.backend.backend()} --max-trials"
    status, out, err = command(f"{line} 1")
    assert status == 0, err
    assert err.startswith("trial 1/1: ")
    best = json.loads(Path("s/tuner/trial_0/result.json").read_text())
    assert out.splitlines() == [
        f"Best: {best['error']:.2f} % validation error, trial 1.",
        "Look at s/: leaderboard.html, leaderboard.csv, best_recipe.json, and pictures",
    ]
    status, out, err = command(f"{line} 1 --json")  # nothing is left to do
    assert (status, err, json.loads(out)) == (0, "", best)
    status, _, err = command(f"{line} 1 --seed 1")
    assert (status, "holds another search: its seed differ" in err) == (2, True)


def test_tune_that_is_stopped_asks_to_be_run_again(command, monkeypatch):
    def stop(_):
        raise StoppedError("stopped by SIGTERM")

    monkeypatch.setattr(Search, "search", stop)
    status, out, err = command(f"tune digits --backend {keras.backend.backend()}")
    assert (status, out) == (75, "")
    assert err == "keras-resnet: stopped by SIGTERM. The same command goes on from there.\n"
