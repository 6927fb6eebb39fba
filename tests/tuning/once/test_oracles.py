"""keras-tuner's oracles respect the bounds, and resume after a stop, whatever stopped them."""

from __future__ import annotations

import dataclasses
import json
import time
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from keras_resnet.tuning.candidates import grid
from keras_resnet.tuning.oracles import ORACLES
from keras_resnet.tuning.parameters import decoded
from keras_resnet.tuning.space import space
from oracles import BOUNDS, oracle, run


@pytest.fixture
def clock(monkeypatch):
    """Replaces the oracles' clock by one that a test sets."""
    fake = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(
        "keras_resnet.tuning.oracles.time", SimpleNamespace(monotonic=lambda: fake.now, sleep=time.sleep)
    )
    return fake


@pytest.fixture
def small_pool(monkeypatch):
    """Bayesian searches choose from 20 candidates instead of 256, which takes most of their time."""
    monkeypatch.setattr("keras_resnet.tuning.oracles.POOL", 20)


@pytest.mark.usefixtures("small_pool")
@pytest.mark.parametrize("name", list(ORACLES))
def test_no_trial_is_spent_on_a_candidate_out_of_bounds(tmp_path, name):
    """About half of this space has more than 150,000 parameters, or cannot be built."""
    made, tried = oracle(name, tmp_path, trials=8), []
    while (trial := run(made)).status != "STOPPED":
        values = decoded(trial.hyperparameters.values)
        assert BOUNDS.check(values).parameters <= 150_000  # or raises if the candidate cannot be built
        tried.append(json.dumps(values, sort_keys=True))
    assert len(set(tried)) == len(tried) == 8


def test_a_grid_search_tries_every_candidate_within_bounds_once_the_papers_first(tmp_path):
    rows = space("shape", changes={"units_per_stage": "1,2,3", "width": "0.5,1", "shortcut": "A,B"})
    made, tried = oracle("grid", tmp_path, None, rows=rows), []
    made.bounds = dataclasses.replace(BOUNDS, parameters=None)
    while (trial := made.create_trial("tuner0")).status == "RUNNING":
        values = decoded(trial.hyperparameters.values)
        tried.append((values["units_per_stage"], values["width"], values["shortcut"]))
        made.update_trial(trial.trial_id, {"score": 1.0})
        trial.status = "COMPLETED"
        made.end_trial(trial)
    assert tried[0] == (3, 1.0, "A")
    assert sorted(tried) == sorted(
        (units, width, shortcut)
        for units in (1, 2, 3)
        for width in (0.5, 1.0)
        for shortcut in ("A", "B")
        if (width, shortcut) != (0.5, "A")  # would drop channels
    )


def test_a_grid_contains_the_ends_of_ranges_and_the_recipe_varies_faster_than_the_network():
    rows = space("shape", changes={"units_per_stage": "1,2", "width": "1", "shortcut": "A", "learning_rate": "0.01..1"})
    candidates = grid(rows, dataclasses.replace(BOUNDS, parameters=None))
    pairs = [(values["units_per_stage"], values["learning_rate"]) for values in candidates]
    rates = [0.1, 0.01, 0.03162, 0.3162, 1.0]
    assert pairs == [(units, rate) for units in (1, 2) for rate in rates]


@pytest.mark.usefixtures("small_pool")
@pytest.mark.parametrize("name", list(ORACLES))
def test_after_a_stop_a_search_resumes_and_tries_nothing_twice(tmp_path, name):
    uninterrupted = oracle(name, tmp_path / "uninterrupted")
    expected = []
    while (trial := run(uninterrupted)).status != "STOPPED":
        expected.append(decoded(trial.hyperparameters.values))
    resumed = []
    for _ in range(20):
        made = oracle(name, tmp_path / "parts")  # a new process each time
        trial = run(made)
        if trial.status == "STOPPED":
            break
        resumed.append(decoded(trial.hyperparameters.values))
    assert len(resumed) == 6
    assert resumed == expected
    assert len({json.dumps(values, sort_keys=True) for values in resumed}) == 6


def test_a_trial_that_was_running_is_run_again_by_its_worker(tmp_path):
    made = oracle("random", tmp_path)
    first = made.create_trial("tuner0")
    again = oracle("random", tmp_path)
    trial = again.create_trial("tuner0")
    assert (trial.trial_id, trial.status) == (first.trial_id, "RUNNING")
    assert trial.hyperparameters.values == first.hyperparameters.values
    other = again.create_trial("tuner1")
    assert other.trial_id != first.trial_id


@pytest.mark.parametrize("name", list(ORACLES))
def test_a_trial_is_chosen_again_if_the_chief_dies_before_assigning_it(tmp_path, monkeypatch, name):
    """The file of the trial is written before the state of the search."""
    made = oracle(name, tmp_path)
    run(made)
    monkeypatch.setattr(made, "save", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        made.create_trial("tuner0")
    lost = json.loads((tmp_path / "tuner" / "trial_1" / "trial.json").read_text())
    again = oracle(name, tmp_path).create_trial("tuner0")
    assert (again.trial_id, again.status) == ("1", "RUNNING")
    assert again.hyperparameters.values == lost["hyperparameters"]["values"]


def test_a_restarted_chief_waits_for_its_workers(tmp_path):
    """A worker's trial ends; the trial of a dead worker is kept until the former can ask for it."""
    made = oracle("random", tmp_path, trials=2)
    lost, finished = made.create_trial("dead"), made.create_trial("alive")
    again = oracle("random", tmp_path, trials=2)
    again.patience = 0.2
    again.trials[finished.trial_id].status = "COMPLETED"
    again.update_trial(finished.trial_id, {"score": 1.0})
    again.end_trial(again.trials[finished.trial_id])
    again.get_trial(lost.trial_id)
    again._last_request["alive"] = time.monotonic() + 60  # as if it were about to ask
    again.watch(every=0.1)
    time.sleep(0.6)
    assert again.trials[lost.trial_id].status == "RUNNING"
    assert again.create_trial("alive").trial_id == lost.trial_id


def test_a_trial_of_a_dead_worker_is_tried_by_another_and_the_search_ends(tmp_path, clock):
    made = oracle("random", tmp_path, trials=2)
    lost = made.create_trial("dead")
    done = run(made, "alive")
    assert made.create_trial("alive").status == "IDLE"  # the other trial may still be lost
    clock.now += made.patience + 1
    taken = run(made, "alive")
    assert taken.trial_id == lost.trial_id
    assert run(made, "alive").status == "STOPPED"
    assert [made.trials[trial.trial_id].status for trial in (done, lost)] == ["COMPLETED", "COMPLETED"]
    assert (made.ongoing_trials, made.tuner_ids) == ({}, set())


def test_a_worker_that_disappears_while_it_is_idle_is_not_waited_for(tmp_path, clock):
    made = oracle("random", tmp_path, trials=1)
    made.create_trial("working")
    assert made.create_trial("idle").status == "IDLE"
    clock.now += made.patience / 2
    made.get_trial("0")  # a sign of life of the other worker
    clock.now += made.patience / 2 + 1
    made.reclaim_lost_trials()
    assert made.tuner_ids == {"working"}


def test_a_worker_that_stays_in_contact_keeps_its_trial(tmp_path, clock):
    made = oracle("random", tmp_path, trials=2)
    trial = made.create_trial("slow")
    for _ in range(4):
        clock.now += made.patience / 2
        made.get_trial(trial.trial_id)
        assert made.reclaim_lost_trials() == []


def test_the_trials_of_workers_that_all_disappear_are_run_again(tmp_path):
    """As on a cluster that preempts its machines: if the trials failed, three in a row would end the search."""
    made = oracle("random", tmp_path, trials=5)
    lost = {made.create_trial(worker).trial_id for worker in "abcd"}
    made.patience = 0.1  # not before: on a busy machine, the first trial would be lost before the last one begins
    made.watch(every=0.05)
    deadline = time.monotonic() + 10
    while made.ongoing_trials and time.monotonic() < deadline:
        time.sleep(0.05)
    assert made.ongoing_trials == {}
    made.patience = 60
    taken = [run(made, "e") for _ in range(5)]
    assert {trial.trial_id for trial in taken[:4]} == lost
    assert {trial.status for trial in taken} == {"COMPLETED"}
    assert run(made, "e").status == "STOPPED"


def test_an_exhausted_space_ends_a_bayesian_search_at_once(tmp_path, monkeypatch):
    rows = space("shape", changes={"units_per_stage": "1,2", "width": "1", "shortcut": "A,B", "learning_rate": "0.1"})
    anything = dataclasses.replace(BOUNDS, parameters=None)
    made, drawn = oracle("bayesian", tmp_path, trials=9, rows=rows, bounds=anything), []
    random_values = made._random_values
    monkeypatch.setattr(made, "_random_values", lambda: drawn.append(1) or random_values())
    assert [run(made).status for _ in range(5)] == 4 * ["COMPLETED"] + ["STOPPED"]
    drawn.clear()
    run(made)
    assert len(drawn) == 1


@pytest.mark.usefixtures("small_pool")
def test_a_bayesian_search_does_not_warn_of_an_inner_fit(tmp_path, monkeypatch, recwarn):
    """scikit-learn does in almost every trial, where the trials are few."""
    made = oracle("bayesian", tmp_path)
    fit = type(made.gpr).fit
    monkeypatch.setattr(
        type(made.gpr), "fit", lambda *given: warnings.warn("a bound", ConvergenceWarning, stacklevel=2) or fit(*given)
    )
    for _ in range(4):
        run(made)
    assert not [warning for warning in recwarn if warning.category is ConvergenceWarning]


@pytest.mark.usefixtures("small_pool")
def test_a_bayesian_search_predicts_the_score_of_a_running_trial_from_others(tmp_path, monkeypatch):
    """An unfitted process would predict zero, where errors are about 50."""
    made = oracle("bayesian", tmp_path, trials=8)
    ended = [run(made) for _ in range(3)]
    made.gpr = made._make_gpr()  # as after a restart
    made.create_trial("tuner1")
    fitted, fit = [], type(made.gpr).fit
    monkeypatch.setattr(type(made.gpr), "fit", lambda self, x, y: fitted.append(list(y)) or fit(self, x, y))
    made.gpr = made._make_gpr()
    made.create_trial("tuner2")
    *others, running = fitted[-1]
    assert others == [trial.score for trial in ended]
    assert 40 < running < 60


@pytest.mark.usefixtures("small_pool")
def test_a_bayesian_search_prefers_what_is_least_known_among_equal_predictions(tmp_path, monkeypatch):
    """It minimises the lower confidence bound."""
    made, drawn = oracle("bayesian", tmp_path, trials=8), []
    for _ in range(3):
        run(made)
    random_values = made._random_values
    monkeypatch.setattr(made, "_random_values", lambda: drawn.append(random_values()) or drawn[-1])

    def predict(self, points, return_std):
        return np.full(len(points), 40.0), np.where(np.arange(len(points)) == 7, 2.0, 1.0)

    monkeypatch.setattr(type(made.gpr), "predict", predict)
    assert made.create_trial("tuner1").hyperparameters.values == drawn[7]


def test_the_state_is_never_partially_written(tmp_path, monkeypatch):
    made = oracle("random", tmp_path)
    run(made)
    before = (tmp_path / "tuner" / "oracle.json").read_text()
    monkeypatch.setattr("keras_resnet.files.os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        made.save()
    assert (tmp_path / "tuner" / "oracle.json").read_text() == before
