"""Oracles of searches on CIFAR-10, whose trials are not trained."""

from __future__ import annotations

import keras_tuner

from keras_resnet.training.recipe import Recipe
from keras_resnet.tuning.candidates import Bounds
from keras_resnet.tuning.oracles import ORACLES
from keras_resnet.tuning.parameters import decoded, hyperparameters
from keras_resnet.tuning.space import space

SPACE = space("network", changes={"learning_rate": "0.01..0.4", "shortcut": "A,B,none"})
BOUNDS = Bounds(Recipe(dataset="cifar10", epochs=9), 10, (32, 32, 3), parameters=150_000)


def oracle(name, folder, trials=6, bounds=BOUNDS, rows=SPACE, max_epochs=9):
    """Returns an oracle of the folder, with the state that another of the same folder has saved."""
    options = {"hyperband": {"max_epochs": max_epochs}, "bayesian": {"num_initial_points": 3}}.get(name, {})
    made = ORACLES[name](
        objective=keras_tuner.Objective("score", "min"), hyperparameters=hyperparameters(rows), seed=1, **options
    )
    made.attach(rows, bounds, trials)
    made._set_project_dir(str(folder), "tuner")
    if (folder / "tuner" / "oracle.json").is_file():
        made.reload()
    return made


def run(made, worker="tuner0", status="COMPLETED"):
    """Runs and returns a trial, whose score is a function of its values."""
    trial = made.create_trial(worker)
    if trial.status == "RUNNING":
        values = decoded(trial.hyperparameters.values)
        made.update_trial(
            trial.trial_id,
            {"score": 50 - 10 * values.get("learning_rate", 0.1) + values["width"] + values["units_per_stage"] / 10},
        )
        trial.status = status
        made.end_trial(trial)
    return trial
