"""Searches on a few digits, with fakes for the processes of trials."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

from keras_resnet import cli
from keras_resnet.training.processes import Processes
from keras_resnet.tuning.study import create_study

SMALL = {"units_per_stage": "1", "width": "0.25,0.5", "shortcut": "B,C", "learning_rate": "0.02..0.2"}


def small(tuner="random", **choices):
    """Returns a study of networks of eight layers on a few digits."""
    given = {"changes": SMALL, "epochs": 1, "images": 64, "validation": 100, "max_trials": 2, **choices}
    return create_study("digits", space_name="shape", tuner=tuner, **given)


def write_history(path, *errors, column="validation_error"):
    """Writes the `history.csv` of a run that had these errors after its epochs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = "".join(f"{epoch},{error}\n" for epoch, error in enumerate(errors, start=1))
    path.write_text(f"epoch,{column}\n{rows}", encoding="utf-8")


def history_of(words):
    """Returns the path of the `history.csv` of the run that a command with these arguments starts."""
    return Path(words[words.index("--out") + 1]) / "history.csv"


def in_this_process(words, stop):
    """Trains a trial for real, without starting a process."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        status = cli.main(words)
    return status, out.getvalue(), err.getvalue()


class Trials:
    """Replaces the processes of trials by given outcomes, one per trial."""

    def __init__(self, monkeypatch, *outcomes):
        self.outcomes, self.recipes, self.backends = list(outcomes), [], []

        def run(processes, words, stop):
            self.backends.append(processes.backend)
            return self.run(words, stop)

        monkeypatch.setattr(Processes, "run", run)

    def run(self, words, stop):
        with open(words[words.index("--recipe") + 1], encoding="utf-8") as file:
            self.recipes.append(json.load(file))
        outcome = self.outcomes.pop(0)
        if callable(outcome):
            return outcome(words, stop)
        if isinstance(outcome, float):
            return 0, json.dumps({"validation_error": outcome, "seconds": 1.0}), ""
        return outcome
