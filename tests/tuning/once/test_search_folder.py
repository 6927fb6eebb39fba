"""Which searches may use a folder, and what happens if its files are damaged."""

from __future__ import annotations

import dataclasses
import json
import subprocess

import pytest

from keras_resnet.tuning.report import write_report
from keras_resnet.tuning.results import results
from keras_resnet.tuning.search import Search
from keras_resnet.tuning.study import create_study
from trials import SMALL, Trials, small


def test_a_folder_of_another_search_is_refused(monkeypatch, tmp_path):
    Trials(monkeypatch, 30.0, 20.0)
    Search(small(), tmp_path / "search", say=print).search()
    with pytest.raises(ValueError, match="contains another search, which differs in: tuner"):
        Search(small("grid"), tmp_path / "search")
    with pytest.raises(ValueError, match=r"contains another search, which differs in: images, epochs\. Choose"):
        Search(small(epochs=2, images=65), tmp_path / "search")
    with pytest.raises(ValueError, match=r"differs in: learning_rate \(space\), parameters \(bounds\)\. Choose"):
        Search(small(changes={**SMALL, "learning_rate": "0.02..0.3"}, max_parameters=10**6), tmp_path / "search")
    begun = json.loads((tmp_path / "search" / "search.json").read_text())
    for name in ("optimizer", "kernel_rate", "kernel_momentum"):  # fields that older searches do not have
        del begun["base"][name]
    (tmp_path / "search" / "search.json").write_text(json.dumps(begun))
    Search(small(), tmp_path / "search")
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "photo.jpg").touch()
    with pytest.raises(ValueError, match="something other than a search"):
        Search(small(), tmp_path / "else")


def test_a_search_on_photographs_resumes_by_another_path_of_their_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = small()
    begun, other = (
        dataclasses.replace(study, base=dataclasses.replace(study.base, dataset=name))
        for name in ("folder:photos", "folder:others")
    )
    begun.begin(tmp_path / "search")
    respelled = f"folder:{tmp_path}/sub/../photos/"
    dataclasses.replace(study, base=dataclasses.replace(study.base, dataset=respelled)).check(tmp_path / "search", True)
    with pytest.raises(ValueError, match="differs in: dataset"):
        other.check(tmp_path / "search", strict=True)


def test_bounds_that_exclude_all_candidates_are_refused_and_leave_the_folder_unused(monkeypatch, tmp_path):
    out = tmp_path / "search"
    with pytest.raises(ValueError, match=r"No candidate of the space is within the bounds: 10 parameters\."):
        Search(small(max_parameters=10), out)
    impossible = create_study(
        "digits", space_name="recipe", changes={"model": "resnet50"}, epochs=1
    )  # images of 8x8 pixels
    with pytest.raises(ValueError, match="at least 32x32"):
        Search(impossible, out)
    assert not out.exists()
    Trials(monkeypatch, 30.0, 20.0)
    Search(small(), out, say=print).search()


def test_bounds_within_which_no_candidate_is_drawn_are_refused_except_by_a_grid_search(monkeypatch, tmp_path):
    """Only one of thirty depths is within them."""
    monkeypatch.setattr("keras_resnet.tuning.oracles.TRIES", 3)
    depths = ",".join(map(str, range(1, 31)))
    choices = {"changes": {**SMALL, "units_per_stage": depths}, "max_parameters": 6000}
    words = r"None of 3 random candidates is within the bounds: 6,000 parameters\. .* \(--tuner grid\)\.$"
    with pytest.raises(ValueError, match=words):
        Search(small(**choices), tmp_path)
    Trials(monkeypatch, 30.0, 20.0)
    Search(small("grid", **choices), tmp_path, say=print).search()
    assert [result["values"]["units_per_stage"] for result in results(tmp_path)] == [1, 1]


@pytest.mark.parametrize("tuner", ["random", "grid", "bayesian"])
def test_a_search_that_has_tried_every_candidate_says_so(monkeypatch, tmp_path, tuner):
    Trials(monkeypatch, 30.0, 20.0)
    lines = []
    changes = {"units_per_stage": "1", "width": "0.25,0.5", "shortcut": "B", "learning_rate": "0.1"}
    Search(small(tuner, changes=changes, max_trials=5), tmp_path, say=lines.append).search()
    assert len(lines) == 3
    assert lines[2] == "Ended after 2 of 5 trials, since no other candidate was found within the bounds."


def test_the_folder_of_a_search_without_results_may_be_used_by_another(monkeypatch, tmp_path):
    """But not if its only trial has left a checkpoint, from which it could be resumed."""
    refused = (2, "", "keras-resnet: error: There is no data set here")
    Trials(monkeypatch, refused)
    with pytest.raises(ValueError, match="no data set"):
        Search(small(), tmp_path, say=print).search()
    other = Trials(monkeypatch, 30.0, 20.0)
    Search(small("grid", epochs=2), tmp_path, say=print).search()
    assert [recipe["epochs"] for recipe in other.recipes] == [2, 2]
    assert [result["error"] for result in results(tmp_path)] == [30.0, 20.0]
    begun = tmp_path / "begun"
    Trials(monkeypatch, refused)
    with pytest.raises(ValueError, match="no data set"):
        Search(small(), begun, say=print).search()
    (checkpoint := begun / "tuner/trial_0/run/checkpoints/epoch_0001.keras").parent.mkdir(parents=True)
    checkpoint.touch()
    with pytest.raises(ValueError, match="contains another search, which differs in: tuner, epochs"):
        Search(small("grid", epochs=2), begun)


def test_a_folder_in_which_another_process_searches_is_refused(tmp_path):
    holder = subprocess.Popen(
        ["flock", str(tmp_path / ".lock"), "sh", "-c", "echo held; exec sleep 60"], stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(ValueError, match=r"Another process searches in .* now. Wait for it, or choose another"):
            Search(small(), tmp_path).search()
    finally:
        holder.kill()
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_search_waits_for_the_running_trial_of_one_that_was_killed(monkeypatch, tmp_path):
    """The process of the trial is still alive and trains to the end."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    held = (4, "", "")
    trials = Trials(monkeypatch, held, held, 20.0)
    lines = []
    Search(small(max_trials=1), tmp_path, say=lines.append).search()
    assert lines[0] == "trial 1: waiting for another process that is still training it"
    assert len(lines) == 2 and [result["error"] for result in results(tmp_path)] == [20.0] and not trials.outcomes


@pytest.mark.parametrize("name", ["search.json", "tuner/trial_0/result.json"])
def test_a_damaged_file_is_reported_in_one_line(monkeypatch, tmp_path, name):
    Trials(monkeypatch, 30.0, 20.0)
    Search(small(), tmp_path, say=print).search()
    (tmp_path / name).write_text('{"trial": ')
    for call in (lambda: Search(small(), tmp_path, say=print).search(), lambda: write_report(tmp_path)):
        with pytest.raises(ValueError, match=rf"{name.rpartition('/')[2]}' is damaged: .*line 1") as caught:
            call()
        assert "\n" not in str(caught.value)
