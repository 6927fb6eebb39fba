"""Every tuner has its proposals tried, and ends with the best of them.

What they propose does not depend on the backend; `test_search` trains on each backend.
"""

from __future__ import annotations

import keras
import pytest

from keras_resnet.tuning.report import write_report
from keras_resnet.tuning.results import results
from keras_resnet.tuning.search import Search
from keras_resnet.tuning.study import TUNERS
from trials import Trials, in_this_process, small


def test_hyperband_ends_with_a_model_that_opens(tmp_path, monkeypatch):
    """Its only trial has one of the three epochs."""
    Trials(monkeypatch, in_this_process)
    lines = []
    Search(small("hyperband", epochs=3, max_trials=1), tmp_path, keras.backend.backend(), lines.append).search()
    assert lines[0] == "No trial will have the full budget; hyperband's first is number 4 (--max-trials 4)."
    assert len(lines) == 2 and lines[1].startswith("trial 1/1: ")
    assert [(result["status"], result["epochs"]) for result in results(tmp_path)] == [("done", 1)]
    best = write_report(tmp_path)
    path = tmp_path / "tuner" / f"trial_{best['trial']}" / "run" / "model.keras"
    assert keras.saving.load_model(path, compile=False).output_shape == (None, 10)


@pytest.mark.parametrize("tuner", [tuner for tuner in TUNERS if tuner != "hyperband"])
def test_every_other_tuner_ends_with_the_best_of_full_trials(monkeypatch, tmp_path, tuner):
    trials, lines = Trials(monkeypatch, 30.0, 20.0, 25.0), []
    Search(small(tuner, max_trials=3), tmp_path, say=lines.append).search()
    assert [line.partition(":")[0] for line in lines] == ["trial 1/3", "trial 2/3", "trial 3/3"]
    assert [(result["status"], result["epochs"]) for result in results(tmp_path)] == 3 * [("done", 1)]
    assert len({str(recipe["network"]) + str(recipe["learning_rate"]) for recipe in trials.recipes}) == 3
    assert write_report(tmp_path)["error"] == 20.0
