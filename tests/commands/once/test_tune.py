"""`keras-resnet tune`."""

from __future__ import annotations

import json
from pathlib import Path

import keras

from keras_resnet.training.interruption import StoppedError
from keras_resnet.training.processes import Processes
from keras_resnet.tuning.search import Search
from trials import Trials


def test_tune_searches_and_resumes(command, monkeypatch):
    """That a search trains and saves a usable model is tested on each backend by `tuning/test_search`."""
    trained = (0, json.dumps({"validation_error": 20.0, "seconds": 1.0}), "")
    trials = Trials(monkeypatch, trained)
    line = "tune digits --space shape --set units_per_stage=1 --set width=0.25,0.5 --set shortcut=B --epochs 1 --out s"
    line = f"{line} --tuner random --images 32 --validation 20 --backend {keras.backend.backend()} --max-trials"
    status, out, err = command(f"{line} 1")
    assert status == 0, err
    assert err.startswith("trial 1/1: ")
    assert trials.backends == [keras.backend.backend()]
    (recipe,) = trials.recipes
    assert (recipe["dataset"], recipe["epochs"], recipe["images"], recipe["validation"]) == ("digits", 1, 32, 20)
    assert recipe["network"]["width"] in (0.25, 0.5)
    best = json.loads(Path("s/tuner/trial_0/result.json").read_text())
    assert out.splitlines() == [
        "Best: 20.00 % validation error, trial 1.",
        "Written to s/: leaderboard.html, leaderboard.csv, best_recipe.json, and pictures",
    ]
    status, out, err = command(f"{line} 1 --json")  # nothing is left to do
    assert (status, err, json.loads(out)) == (0, "", best)
    status, _, err = command(f"{line} 1 --seed 1")
    assert (status, "contains another search, which differs in: seed" in err) == (2, True)


def test_every_option_reaches_the_search(command, monkeypatch):
    """None of these is a default."""
    searches = []

    def search(self):
        searches.append(self)
        raise StoppedError("stopped by SIGTERM")

    monkeypatch.setattr(Search, "search", search)
    limits = "--max-params 300000 --max-macs 90000000 --target-macs 40000 --images 40 --validation 50 --patience 7"
    others = "--tuner random --max-trials 7 --epochs 4 --recipe paper2016 --seed 3 --fidelity images --no-stop-early"
    command(f"tune digits --space shape --set width=0.5,1 --without units-per-stage --out here {limits} {others}")
    ((study, folder, patience),) = [(each.study, each.folder, each.patience) for each in searches]
    assert (study.tuner, study.max_trials, study.seed, study.fidelity) == ("random", 7, 3, "images")
    assert (study.target_macs, study.target_latency, study.stop_early) == (40_000, None, False)
    assert (study.bounds.parameters, study.bounds.macs) == (300_000, 90_000_000)
    assert (study.base.epochs, study.base.images, study.base.validation) == (4, 40, 50)
    assert study.base.warmup_iterations == 400  # of the recipe
    rows = {row.name: row.values for row in study.space.dimensions}
    assert rows["width"] == (0.5, 1.0) and "units_per_stage" not in rows
    assert (folder, patience) == (Path("here"), 7)
    command("tune digits --target-latency 2.5")
    assert searches[-1].study.target_latency == 2.5


def test_tune_that_is_stopped_says_how_to_resume(command, monkeypatch):
    def stop(_):
        raise StoppedError("stopped by SIGTERM")

    monkeypatch.setattr(Search, "search", stop)
    status, out, err = command(f"tune digits --backend {keras.backend.backend()}")
    assert (status, out) == (75, "")
    assert err == "\nkeras-resnet: stopped by SIGTERM. Run the same command again to resume.\n"


SPACE = "--space shape --set units_per_stage=1 --set width=0.25,0.5 --set shortcut=B,C"
TINY = f"tune digits --backend {keras.backend.backend()} {SPACE}"


def test_tune_says_if_no_full_length_trial_has_finished(command, monkeypatch):
    trained = (0, json.dumps({"validation_error": 20.0, "seconds": 1.0}), "")
    monkeypatch.setattr(Processes, "run", lambda *_: trained)
    status, out, err = command(f"{TINY} --epochs 3 --max-trials 1")
    assert (status, out.splitlines()[0]) == (
        0,
        "Best: 20.00 % validation error, trial 1. It was a short trial; no full-length trial has finished.",
    )
    assert err.startswith(
        "No trial will have the full budget; hyperband's first is number 4 (--max-trials 4).\ntrial 1/1"
    )
    _, out, err = command(f"{TINY} --epochs 3 --max-trials 4")
    assert out.splitlines()[0] == "Best: 20.00 % validation error, trial 4."
    assert err.startswith("trial 2/4: ")


def test_tune_in_which_all_trials_failed_ends_with_one_line(command, monkeypatch):
    monkeypatch.setattr(Processes, "run", lambda *_: (-9, "", ""))
    status, out, err = command(f"{TINY} --tuner random --epochs 1 --max-trials 2")
    assert (status, out, err.count("\n")) == (2, "", 3)
    last = err.splitlines()[-1]
    assert last == "keras-resnet: error: No trial of 'searches/digits' was completed. The last, trial 2: out of memory"


def test_tune_with_impossible_bounds_can_be_corrected_in_the_same_folder(command, monkeypatch, mistake):
    monkeypatch.setattr(Processes, "run", lambda *_: (0, json.dumps({"validation_error": 20.0, "seconds": 1.0}), ""))
    mistake(f"{TINY} --tuner random --max-trials 2 --max-params 10", "No candidate of the space is within the bounds")
    assert command(f"{TINY} --tuner random --max-trials 2 --max-params 100000")[0] == 0


def test_tune_with_a_damaged_search_file_ends_with_one_line(mistake):
    Path("searches/digits").mkdir(parents=True)
    Path("searches/digits/search.json").write_text('{"tuner": "ran')
    mistake(TINY, "'searches/digits/search.json' is damaged", "Choose another --out")
