"""keras-tuner's oracles keep to the bounds, and go on after a stop, whatever stopped them."""

from __future__ import annotations

import dataclasses
import json
import time
from types import SimpleNamespace

import keras_tuner
import pytest

from keras_resnet.training.recipe import Recipe
from keras_resnet.tuning.candidates import Bounds, grid
from keras_resnet.tuning.oracles import ORACLES, first_whole
from keras_resnet.tuning.parameters import decoded, hyperparameters
from keras_resnet.tuning.space import space

SPACE = space("network", changes={"learning_rate": "0.01..0.4", "shortcut": "A,B,none"})
BOUNDS = Bounds(Recipe(dataset="cifar10", epochs=9), 10, (32, 32, 3), parameters=150_000)


def oracle(name, folder, trials=6, bounds=BOUNDS, rows=SPACE, max_epochs=9):
    own = {"hyperband": {"max_epochs": max_epochs}, "bayesian": {"num_initial_points": 3}}.get(name, {})
    made = ORACLES[name](
        objective=keras_tuner.Objective("score", "min"), hyperparameters=hyperparameters(rows), seed=1, **own
    )
    made.attach(rows, bounds, trials)
    made._set_project_dir(str(folder), "tuner")
    if (folder / "tuner" / "oracle.json").is_file():
        made.reload()
    return made


@pytest.fixture
def clock(monkeypatch):
    """Stands for the oracles' clock, which a test sets."""
    stopped = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(
        "keras_resnet.tuning.oracles.time", SimpleNamespace(monotonic=lambda: stopped.now, sleep=time.sleep)
    )
    return stopped


def run(made, worker="tuner0", status="COMPLETED"):
    """Runs one trial, whose score is a function of its values; returns the trial."""
    trial = made.create_trial(worker)
    if trial.status == "RUNNING":
        values = decoded(trial.hyperparameters.values)
        made.update_trial(trial.trial_id, {"score": 50 - 10 * values["learning_rate"] + values["width"]})
        trial.status = status
        made.end_trial(trial)
    return trial


@pytest.mark.parametrize("name", list(ORACLES))
def test_no_trial_is_spent_on_a_candidate_out_of_bounds(tmp_path, name):
    """Of this space, about half costs more than 150,000 parameters, or cannot be."""
    made, seen = oracle(name, tmp_path, trials=8), []
    while (trial := run(made)).status != "STOPPED":
        values = decoded(trial.hyperparameters.values)
        cost = BOUNDS.cost(values)
        assert cost is not None
        assert cost.parameters <= 150_000
        seen.append(json.dumps(values, sort_keys=True))
    assert len(set(seen)) == len(seen) == 8


@pytest.mark.parametrize(("epochs", "number"), [(1, 1), (3, 4), (9, 13), (10, 17), (27, 40)])
def test_hyperbands_first_whole_trial_is_known_beforehand(tmp_path, epochs, number):
    made = oracle("hyperband", tmp_path, None, max_epochs=epochs)
    lengths = []
    while epochs not in lengths:
        lengths.append(run(made).hyperparameters.values["tuner/epochs"])
    assert len(lengths) == first_whole(epochs) == number


def test_a_grid_search_tries_every_candidate_within_bounds_once_the_papers_first(tmp_path):
    rows = space("shape", changes={"units_per_stage": "1,2,3", "width": "0.5,1", "shortcut": "A,B"})
    made, seen = oracle("grid", tmp_path, None, rows=rows), []
    made.bounds = dataclasses.replace(BOUNDS, parameters=None)
    while (trial := made.create_trial("tuner0")).status == "RUNNING":
        values = decoded(trial.hyperparameters.values)
        seen.append((values["units_per_stage"], values["width"], values["shortcut"]))
        made.update_trial(trial.trial_id, {"score": 1.0})
        trial.status = "COMPLETED"
        made.end_trial(trial)
    assert seen[0] == (3, 1.0, "A")
    assert sorted(seen) == sorted(
        (units, width, shortcut)
        for units in (1, 2, 3)
        for width in (0.5, 1.0)
        for shortcut in ("A", "B")
        if (width, shortcut) != (0.5, "A")  # would drop channels
    )


def test_a_grid_has_the_ranges_ends_and_the_recipe_changes_faster_than_the_network():
    rows = space("shape", changes={"units_per_stage": "1,2", "width": "1", "shortcut": "A", "learning_rate": "0.01..1"})
    candidates = grid(rows, dataclasses.replace(BOUNDS, parameters=None))
    found = [(values["units_per_stage"], values["learning_rate"]) for values in candidates]
    rates = [0.1, 0.01, 0.03162, 0.3162, 1.0]
    assert found == [(units, rate) for units in (1, 2) for rate in rates]


@pytest.mark.parametrize("name", list(ORACLES))
def test_after_a_stop_it_goes_on_and_tries_nothing_twice(tmp_path, name):
    whole = oracle(name, tmp_path / "whole")
    expected = []
    while (trial := run(whole)).status != "STOPPED":
        expected.append(decoded(trial.hyperparameters.values))
    found = []
    for _ in range(20):
        made = oracle(name, tmp_path / "parts")  # a new process each time
        trial = run(made)
        if trial.status == "STOPPED":
            break
        found.append(decoded(trial.hyperparameters.values))
    assert len(found) == 6
    assert found == expected
    assert len({json.dumps(values, sort_keys=True) for values in found}) == 6


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
def test_a_trial_that_a_chief_dies_in_giving_out_is_chosen_again(tmp_path, monkeypatch, name):
    """It has a file of its own before the state of the search knows of it."""
    made = oracle(name, tmp_path)
    run(made)
    monkeypatch.setattr(made, "save", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        made.create_trial("tuner0")
    lost = json.loads((tmp_path / "tuner" / "trial_1" / "trial.json").read_text())
    again = oracle(name, tmp_path).create_trial("tuner0")
    assert (again.trial_id, again.status) == ("1", "RUNNING")
    assert again.hyperparameters.values == lost["hyperparameters"]["values"]


def test_a_worker_whose_chief_was_restarted_is_waited_for(tmp_path):
    """Its trial ends, and another's, whose worker is dead, is not given up before it can ask for that."""
    made = oracle("random", tmp_path, trials=2)
    lost, own = made.create_trial("dead"), made.create_trial("alive")
    again = oracle("random", tmp_path, trials=2)
    again.patience = 0.2
    again.trials[own.trial_id].status = "COMPLETED"
    again.update_trial(own.trial_id, {"score": 1.0})
    again.end_trial(again.trials[own.trial_id])
    again.get_trial(lost.trial_id)
    again._asked["alive"] = time.monotonic() + 60  # it is about to
    again.watch(every=0.1)
    time.sleep(0.6)
    assert again.trials[lost.trial_id].status == "RUNNING"
    assert again.create_trial("alive").trial_id == lost.trial_id


def test_a_trial_of_a_dead_worker_is_tried_by_another_and_the_search_ends(tmp_path, clock):
    made = oracle("random", tmp_path, trials=2)
    lost = made.create_trial("dead")
    done = run(made, "alive")
    assert made.create_trial("alive").status == "IDLE"  # not yet the end: the other might still be lost
    clock.now += made.patience + 1
    taken = run(made, "alive")
    assert taken.trial_id == lost.trial_id
    assert run(made, "alive").status == "STOPPED"
    assert [made.trials[trial.trial_id].status for trial in (done, lost)] == ["COMPLETED", "COMPLETED"]
    assert (made.ongoing_trials, made.tuner_ids) == ({}, set())


def test_a_worker_that_is_heard_of_keeps_its_trial(tmp_path, clock):
    made = oracle("random", tmp_path, trials=2)
    trial = made.create_trial("slow")
    for _ in range(4):
        clock.now += made.patience / 2
        made.get_trial(trial.trial_id)
        assert made.take_back() == []


def test_workers_that_were_all_away_for_long_take_their_trials_up_again(tmp_path):
    """As a cluster takes its machines back and gives others: three trials that fail in a row would end the search."""
    made = oracle("random", tmp_path, trials=5)
    made.patience = 0.1
    lost = {made.create_trial(worker).trial_id for worker in "abcd"}
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


def test_a_space_that_is_used_up_ends_a_bayesian_search_at_once(tmp_path, monkeypatch):
    rows = space("shape", changes={"units_per_stage": "1,2", "width": "1", "shortcut": "A,B", "learning_rate": "0.1"})
    anything = dataclasses.replace(BOUNDS, parameters=None)
    made, drawn = oracle("bayesian", tmp_path, trials=9, rows=rows, bounds=anything), []
    whole = made._random_values
    monkeypatch.setattr(made, "_random_values", lambda: drawn.append(1) or whole())
    assert [run(made).status for _ in range(5)] == 4 * ["COMPLETED"] + ["STOPPED"]
    drawn.clear()
    run(made)
    assert len(drawn) == 1


def test_of_a_running_trial_a_bayesian_search_expects_what_others_came_to(tmp_path, monkeypatch):
    """And not the zero that a process expects which has seen nothing, next to errors of about 50."""
    made = oracle("bayesian", tmp_path, trials=8)
    ended = [run(made) for _ in range(3)]
    made.gpr = made._make_gpr()  # as behind a restart
    made.create_trial("tuner1")
    seen, fit = [], type(made.gpr).fit
    monkeypatch.setattr(type(made.gpr), "fit", lambda self, x, y: seen.append(list(y)) or fit(self, x, y))
    made.gpr = made._make_gpr()
    made.create_trial("tuner2")
    *others, running = seen[-1]
    assert others == [trial.score for trial in ended]
    assert 40 < running < 60


def test_its_state_is_never_half_written(tmp_path, monkeypatch):
    made = oracle("random", tmp_path)
    run(made)
    before = (tmp_path / "tuner" / "oracle.json").read_text()
    monkeypatch.setattr("keras_resnet.saving.os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        made.save()
    assert (tmp_path / "tuner" / "oracle.json").read_text() == before
