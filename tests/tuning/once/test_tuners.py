"""Every tuner trains what it proposes, and ends with a model that opens.

They differ in what they propose, which no backend has a part in; that a search trains on each, `test_search` shows.
"""

from __future__ import annotations

import keras
import pytest

from keras_resnet.tuning.report import write_report
from keras_resnet.tuning.search import Search, results
from keras_resnet.tuning.study import TUNERS, study_of
from trials import Trials, in_this_process

SPACE = {"units_per_stage": "1", "width": "0.25,0.5", "shortcut": "B,C", "learning_rate": "0.02..0.2"}


@pytest.mark.parametrize("tuner", TUNERS)
def test_every_tuner_ends_with_a_model_that_opens(tmp_path, monkeypatch, tuner):
    """Hyperband's trial has one epoch of its three."""
    epochs = 3 if tuner == "hyperband" else 1
    study = study_of(
        "digits",
        space_name="shape",
        changes=SPACE,
        tuner=tuner,
        epochs=epochs,
        images=64,
        validation=100,
        max_trials=1,
    )
    Trials(monkeypatch, in_this_process)
    told = []
    Search(study, tmp_path, keras.backend.backend(), told.append).search()
    warning = ["Of 1 trials none will be whole; hyperband's first is number 4 (--max-trials 4)."]
    assert told[:-1] == (warning if tuner == "hyperband" else [])
    assert told[-1].startswith("trial 1/1: ")
    assert [(result["status"], result["epochs"]) for result in results(tmp_path)] == [("done", 1)]
    best = write_report(tmp_path)
    path = tmp_path / "tuner" / f"trial_{best['trial']}" / "run" / "model.keras"
    assert keras.saving.load_model(path, compile=False).output_shape == (None, 10)
