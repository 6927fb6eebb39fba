"""A search ends with its best trial, whatever becomes of the others, and resumes where it was stopped.

The processes of the trials are faked; `test_search` trains for real.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from keras_resnet.training.interruption import StoppedError
from keras_resnet.training.processes import Processes
from keras_resnet.tuning.pictures import completed
from keras_resnet.tuning.report import write_report
from keras_resnet.tuning.results import results
from keras_resnet.tuning.search import Search
from keras_resnet.tuning.study import create_study
from trials import SMALL, Trials, history_of, small, write_history


def test_failed_trials_are_results_and_the_search_continues(monkeypatch, tmp_path):
    """In keras-tuner, three failed trials in a row would end it."""
    Trials(
        monkeypatch,
        (3, "", "keras-resnet: the loss is NaN"),
        (1, "", "jaxlib.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory allocating 17 bytes"),
        (-9, "", ""),
        (1, "", "Traceback\nZeroDivisionError: where training diverged: by zero"),  # the status decides, not the text
        20.0,
    )
    lines = []
    Search(small(max_trials=5), tmp_path, say=lines.append).search()
    outcomes = results(tmp_path)
    assert [result["status"] for result in outcomes] == [
        "diverged",
        "out of memory",
        "out of memory",
        "failed: ZeroDivisionError: where training diverged: by zero",
        "done",
    ]
    assert [result["error"] for result in outcomes] == [90.0, 90.0, 90.0, 90.0, 20.0]  # guessing among ten classes
    assert "diverged, 90.00 %" in lines[0]
    assert write_report(tmp_path)["error"] == 20.0
    assert (tmp_path / "leaderboard.csv").read_text().splitlines()[1].startswith("1,5,20.0,20.0,done,1,")


def test_a_search_in_which_all_trials_failed_has_no_best_one(monkeypatch, tmp_path):
    Trials(
        monkeypatch, (3, "", "keras-resnet: training diverged: the loss is NaN"), (1, "", "ZeroDivisionError: by zero")
    )
    Search(small(), tmp_path, say=lambda line: None).search()
    with pytest.raises(ValueError, match=r"No trial of .* was completed. The last, trial 2: failed: ZeroDivisionError"):
        write_report(tmp_path)
    assert len((tmp_path / "leaderboard.csv").read_text().splitlines()) == 3
    assert (tmp_path / "leaderboard.html").is_file() and not (tmp_path / "best_recipe.json").exists()


def test_an_error_that_affects_every_trial_ends_the_search_in_one_line(monkeypatch, tmp_path):
    Trials(monkeypatch, (2, "", "bars\nkeras-resnet: error: There is no data set here"))
    with pytest.raises(ValueError, match=r"^Trial 1: There is no data set here$"):
        Search(small(), tmp_path, say=print).search()


def test_a_stopped_search_resumes_within_the_same_trial(monkeypatch, tmp_path):
    study = small(max_trials=3)
    search = Search(study, tmp_path, say=print)

    def interrupted(words, stop):
        search._stop.signal = "SIGTERM"
        assert stop()
        return 75, "", "saved"

    trials = Trials(monkeypatch, 30.0, interrupted)
    with pytest.raises(StoppedError, match="stopped by SIGTERM"):
        search.search()
    assert [result["error"] for result in results(tmp_path)] == [30.0]
    resumed = Trials(monkeypatch, 25.0, 20.0)
    Search(study, tmp_path, say=print).search()
    assert resumed.recipes[0] == trials.recipes[1]  # the same trial, whose run folder has a checkpoint
    assert [result["error"] for result in results(tmp_path)] == [30.0, 25.0, 20.0]
    Search(dataclasses.replace(study, max_trials=4), tmp_path, say=Trials(monkeypatch, 10.0).recipes.append).search()
    assert len(results(tmp_path)) == 4  # a search may be extended


def test_a_seed_repeats_a_search(monkeypatch, tmp_path):
    searches = []
    for number, seed in enumerate((0, 0, 1)):
        trials = Trials(monkeypatch, 30.0, 20.0)
        Search(small(seed=seed), tmp_path / str(number), say=print).search()
        searches.append([(recipe["network"], recipe["learning_rate"]) for recipe in trials.recipes])
    assert searches[0] == searches[1] != searches[2]


def test_a_hopeless_trial_is_stopped_and_keeps_its_last_error(monkeypatch, tmp_path):
    def trained(*errors):
        def run(words, stop):
            write_history(history_of(words), *errors)
            if stop():
                return 75, "", "saved"
            return 0, json.dumps({"validation_error": errors[-1], "seconds": 1.0}), ""

        return run

    good = trained(60.0, 40.0, 30.0, 20.0)
    Trials(monkeypatch, good, good, good, trained(90.0, 80.0), trained(60.0, 45.0))
    Search(small(max_trials=5, epochs=4), tmp_path, say=print).search()
    assert [result["status"] for result in results(tmp_path)] == ["done"] * 3 + ["stopped after epoch 2", "done"]
    assert results(tmp_path)[3]["error"] == 80.0


def test_short_trials_are_not_compared_with_full_ones(monkeypatch, tmp_path):
    """With fewer images they have as many epochs; compared with full trials, those after the first full ones, from the
    24th trial on, would be hopeless."""
    study = small("hyperband", epochs=2, images=900, fidelity="images", max_trials=25)
    budgets, stopped = [], []

    def run(words, stop):
        budgets.append(json.loads(Path(words[words.index("--recipe") + 1]).read_text())["images"] // 100)
        error = 100.0 - 10 * budgets[-1] - len(budgets) / 100
        write_history(history_of(words), error + 1)
        stopped.append(stop())
        return 0, json.dumps({"validation_error": error, "seconds": 1.0}), ""

    monkeypatch.setattr(Processes, "run", lambda _, words, stop: run(words, stop))
    Search(study, tmp_path, say=lambda line: None).search()
    assert {1, 3, 9} == set(budgets[:23]) and budgets[23:] == [1, 1]
    assert not any(stopped)
    outcomes = results(tmp_path)
    assert [result["budget"] for result in outcomes] == budgets
    assert write_report(tmp_path)["budget"] == 9
    assert {result["budget"] for result in completed(outcomes)} == {9}


def test_a_candidate_that_is_refused_does_not_end_a_search_in_which_others_succeeded(monkeypatch, tmp_path):
    Trials(monkeypatch, 30.0, (2, "", "keras-resnet: error: `batch_size` must be divisible by 8"), 20.0)
    Search(small(max_trials=3), tmp_path, say=lambda line: None).search()
    assert [result["status"] for result in results(tmp_path)] == [
        "done",
        "failed: `batch_size` must be divisible by 8",
        "done",
    ]


def test_a_progress_bar_shows_the_epochs_of_a_trial(monkeypatch, tmp_path):
    bars = []

    class Bar:
        n = 0

        def __init__(self, **given):
            self.given, self.seen = given, []
            bars.append(self)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def refresh(self):
            self.seen.append(self.n)

    def run(words, stop):
        for done in (0, 1, 3):
            write_history(history_of(words), *done * [50.0])
            assert not stop()
        return 0, json.dumps({"validation_error": 50.0, "seconds": 1.0}), ""

    monkeypatch.setattr("keras_resnet.tuning.search.tqdm", Bar)
    Trials(monkeypatch, run)
    Search(small(max_trials=1, epochs=4), tmp_path, say=print).search()
    (bar,) = bars
    assert (bar.given["desc"], bar.given["total"], bar.given["disable"]) == ("trial 1", 4, None)
    assert bar.seen == [0, 1, 3]


def test_hyperband_shortens_trials_as_the_fidelity_says(monkeypatch, tmp_path):
    study = small("hyperband", epochs=9, max_trials=1)
    assert [study.recipe(study.space.default(), budget).epochs for budget in (1, 3, 9, None)] == [1, 3, 9, 9]
    study = small("hyperband", epochs=2, images=900, fidelity="images", max_trials=1)
    recipes = [study.recipe(study.space.default(), budget) for budget in (1, 3, 9)]
    assert [(recipe.images, recipe.epochs) for recipe in recipes] == [(100, 2), (300, 2), (900, 2)]
    trials = Trials(monkeypatch, 30.0)
    Search(study, tmp_path, say=print).search()
    assert trials.recipes[0]["images"] == 100
    with pytest.raises(ValueError, match="all have one size"):
        small("hyperband", fidelity="size")


def test_hyperbands_default_number_of_trials_includes_a_full_one_and_fewer_are_reported(monkeypatch, tmp_path):
    """A full trial of 9 epochs follows 9 of one and 3 of three epochs; one of 27, 27 + 9 + 3 (Li et al. 2018)."""
    given = {"space_name": "shape", "changes": SMALL, "images": 64, "validation": 100}
    assert [create_study("digits", epochs=epochs, **given).max_trials for epochs in (1, 9, 27)] == [20, 20, 40]
    assert create_study("digits", tuner="random", epochs=27, **given).max_trials == 20
    lines = []
    Trials(monkeypatch, *12 * [30.0])
    Search(small("hyperband", epochs=9, max_trials=12), tmp_path, say=lines.append).search()
    assert lines[0] == "No trial will have the full budget; hyperband's first is number 13 (--max-trials 13)."
    lines.clear()
    Trials(monkeypatch, 30.0)
    Search(small("hyperband", epochs=9, max_trials=13), tmp_path, say=lines.append).search()
    assert len(lines) == 1 and results(tmp_path)[-1]["epochs"] == 9


def test_the_best_so_far_is_that_of_the_report(monkeypatch, tmp_path):
    """Once a trial is full, those of a single epoch no longer count, nor does one that did not end."""
    Trials(monkeypatch, 30.0, (3, "", ""), 20.0, 40.0)
    lines = []
    Search(small("hyperband", epochs=3, max_trials=4), tmp_path, say=lines.append).search()
    assert [line.rpartition("(best ")[2] for line in lines] == ["30.00)", "30.00)", "20.00)", "40.00)"]
    assert write_report(tmp_path)["error"] == 40.0


def test_a_networks_latency_is_measured_once_and_counts_beyond_the_target(monkeypatch, tmp_path):
    """Twice the milliseconds count as 5 % more error; a network that cannot be timed is judged by its error alone."""
    timed = []

    def run(words, stop):
        if words[0] == "train":
            return 0, json.dumps({"validation_error": 20.0, "seconds": 1.0}), ""
        timed.append(words)
        return (0, json.dumps([{"latency": 4.0}]), "") if len(timed) > 1 else (-9, "", "")

    monkeypatch.setattr(Processes, "run", lambda _, words, stop: run(words, stop))
    same = create_study("digits", changes={**SMALL, "width": "0.5", "shortcut": "B"}, space_name="shape", epochs=1)
    study = dataclasses.replace(same, tuner="random", max_trials=3, target_latency=2.0)
    lines = []
    search = Search(study, tmp_path, "jax", say=lines.append)
    assert search._processes.backend == "jax"
    search.search()
    words = "summary resnet8 --width=0.5 --shortcut=B --unit=basic --latency --json --image-size=8 --classes=10"
    assert timed == 2 * [words.split()]
    outcomes = results(tmp_path)
    assert [result["latency"] for result in outcomes] == [None, 4.0, 4.0]
    assert [result["score"] for result in outcomes] == [20.0, *2 * [pytest.approx(20.994, abs=1e-3)]]
    assert "4.00 ms" in lines[1]
    assert [line.partition(";")[0] for line in lines] == [
        "trial 1/3: 20.00 %",
        *(f"trial {number}/3: 20.00 %, score 20.99" for number in (2, 3)),
    ]
    write_report(tmp_path)
    assert (tmp_path / "latency.png").is_file()
    with pytest.raises(ValueError, match="one target"):
        small(target_macs=1, target_latency=1.0)
