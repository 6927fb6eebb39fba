"""Oracles after a restart, after the loss of a worker, and before there is anything to learn from."""

from __future__ import annotations

from types import SimpleNamespace

import keras_tuner
import pytest

from keras_resnet.training.recipe import Recipe
from keras_resnet.tuning.candidates import Bounds
from keras_resnet.tuning.oracles import ORACLES
from keras_resnet.tuning.parameters import hyperparameters
from keras_resnet.tuning.space import space

ROWS = space("shape", changes={"units_per_stage": "1,2,3", "width": "0.5,1,2", "shortcut": "B,C"})
BOUNDS = Bounds(Recipe(dataset="cifar10", epochs=9), 10, (32, 32, 3), parameters=300_000)


@pytest.fixture
def oracle(tmp_path):
    """Returns a new oracle of a search in the same folder, as after a restart of its process."""

    def make(name="random"):
        objective = keras_tuner.Objective("score", "min")
        made = ORACLES[name](objective=objective, hyperparameters=hyperparameters(ROWS), seed=1)
        made.attach(ROWS, BOUNDS, 6)
        made._set_project_dir(str(tmp_path), "tuner")
        if (tmp_path / "tuner" / "oracle.json").is_file():
            made.reload()
        return made

    return make


def test_the_check_of_a_space_does_not_change_what_is_drawn_later(oracle):
    """However many candidates it had to draw until one was within the bounds."""
    once, twice = oracle(), oracle()
    twice.attach(ROWS, BOUNDS, 6)
    assert once._random_values() == twice._random_values()


def test_a_restarted_search_knows_the_workers_whose_trials_are_running(oracle):
    oracle().create_trial("a worker")
    assert "a worker" in oracle().tuner_ids


def test_a_trial_that_was_taken_from_a_dead_worker_is_still_free_after_a_restart(oracle, monkeypatch):
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr("keras_resnet.tuning.oracles.time", SimpleNamespace(monotonic=lambda: clock.now))
    made = oracle()
    lost = made.create_trial("dead")
    clock.now += made.patience + 1
    assert made.reclaim_lost_trials() == [lost.trial_id]
    again = oracle()
    assert again.ongoing_trials == {}
    assert again.create_trial("alive").trial_id == lost.trial_id


def test_the_first_candidates_of_a_bayesian_search_are_random(oracle, monkeypatch):
    """Three for each dimension, unless a number is given: a process that is fitted to nothing predicts nothing."""
    made = oracle("bayesian")
    monkeypatch.setattr(type(made.gpr), "fit", lambda *_: pytest.fail("it was fitted to too few trials"))
    for number in range(3):
        trial = made.create_trial("tuner0")
        assert trial.status == "RUNNING"
        made.update_trial(trial.trial_id, {"score": float(number)})
        trial.status = "COMPLETED"
        made.end_trial(trial)


def test_a_grid_search_gives_keras_tuner_values_in_the_form_that_it_accepts(tmp_path):
    """It does not preserve None, which stands for a plain network."""
    rows = space("shape", changes={"units_per_stage": "1", "width": "1", "shortcut": "B,none"})
    objective = keras_tuner.Objective("score", "min")
    made = ORACLES["grid"](objective=objective, hyperparameters=hyperparameters(rows), seed=1)
    made.attach(rows, BOUNDS, None)
    made._set_project_dir(str(tmp_path), "tuner")
    trials = [made.create_trial(f"worker {number}") for number in range(2)]
    assert [trial.hyperparameters.values["shortcut"] for trial in trials] == ["B", "none"]
