"""Hyperband reaches the full budget, after a number of trials that is known beforehand."""

from __future__ import annotations

import dataclasses

import pytest

from keras_resnet.tuning.oracles import first_full_trial
from keras_resnet.tuning.space import space
from oracles import BOUNDS, SPACE, oracle, run


@pytest.mark.parametrize(("epochs", "number"), [(1, 1), (3, 4), (9, 13), (10, 17), (27, 40)])
def test_hyperbands_first_trial_of_the_full_budget_is_known_beforehand(tmp_path, epochs, number):
    made = oracle("hyperband", tmp_path, None, max_epochs=epochs)
    lengths = []
    while epochs not in lengths:
        lengths.append(run(made).hyperparameters.values["tuner/epochs"])
    assert len(lengths) == first_full_trial(epochs, SPACE, BOUNDS) == number


@pytest.mark.parametrize(
    ("units", "lengths"),
    [("1,2,3,5,7,9", [1, 1, 1, 1, 1, 1, 3, 3, 9]), ("1,2", [1, 1, 3, 9]), ("1,1", [1, 3, 9])],
)
def test_hyperband_trains_the_best_in_full_however_few_candidates_there_are(tmp_path, units, lengths):
    """A bracket of 9 epochs begins with 9 candidates; keras-tuner's own oracle would end after the short trials."""
    rows = space("shape", changes={"units_per_stage": units, "width": "0.5,0.5", "shortcut": "B"})
    bounds, trials = dataclasses.replace(BOUNDS, parameters=None), []
    while (trial := run(made := oracle("hyperband", tmp_path, None, bounds, rows))).status != "STOPPED":
        trials.append(trial)  # each by a new process
    values = [trial.hyperparameters.values for trial in trials]
    assert [row["tuner/epochs"] for row in values] == lengths
    assert first_full_trial(9, rows, bounds) == len(lengths)
    best = min(trials[: lengths.count(1)], key=lambda trial: made.trials[trial.trial_id].score)
    assert values[-1]["units_per_stage"] == best.hyperparameters.values["units_per_stage"]
