"""A search trains on every backend; its model can be loaded, its best recipe repeated. See also `once/test_trials`."""

from __future__ import annotations

import subprocess

import keras
import pytest

import launch
from keras_resnet.training.recipes import recipe_for
from keras_resnet.training.run import train
from keras_resnet.tuning.report import write_report
from keras_resnet.tuning.results import results
from keras_resnet.tuning.search import Search
from trials import small

TRIALS = 1  # which of several is the best does not depend on the backend: see `once/test_trials`


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A short search of networks of eight layers: its folder, the printed lines and the report."""
    folder, lines = tmp_path_factory.mktemp("search"), []
    Search(small(max_trials=TRIALS), folder, keras.backend.backend(), lines.append).search()
    return folder, lines, write_report(folder)


def test_a_search_ends_with_its_best_trial(searched):
    folder, lines, best = searched
    assert [line.partition(":")[0] for line in lines] == [f"trial {number + 1}/{TRIALS}" for number in range(TRIALS)]
    assert [(result["status"], result["epochs"]) for result in results(folder)] == TRIALS * [("done", 1)]
    assert best == results(folder)[0]


def test_its_model_loads_in_a_new_process(searched):
    """Without importing this package."""
    folder, _, best = searched
    path = str(folder / "tuner" / f"trial_{best['trial']}" / "run" / "model.keras")
    program = f"import keras; print(keras.saving.load_model({path!r}, compile=False).output_shape)"
    done = subprocess.run(launch.plain_keras(program), capture_output=True, text=True)
    assert done.stdout == "(None, 10)\n", done.stderr


def test_the_best_recipe_repeats_the_best_trial(searched, tmp_path):
    folder, _, best = searched
    again = train(recipe_for(str(folder / "best_recipe.json")), tmp_path / "again", say=print)
    assert again["validation_error"] == pytest.approx(best["error"], abs=1.0)  # one image of a hundred
