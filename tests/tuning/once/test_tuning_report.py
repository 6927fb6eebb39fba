"""The report of a search."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest

from keras_resnet.tuning.pictures import completed, draw_dimensions, draw_parallel, front
from keras_resnet.tuning.report import write_report
from keras_resnet.tuning.results import results
from keras_resnet.tuning.space import space
from trials import write_history

ROWS = space("network", changes={"learning_rate": "0.01..0.4"})


@pytest.fixture
def folder(tmp_path):
    """The folder of a search of four trials: one full, two short, one that diverged."""
    study = {"tuner": "hyperband", "space": ROWS.as_json(), "base": {"dataset": "<digits>"}}
    (tmp_path / "search.json").write_text(json.dumps(study))
    for number, (error, macs, epochs, status, changes) in enumerate(
        [
            (20.0, 4e7, 9, "done", {"learning_rate": 0.05}),
            (15.0, 8e7, 3, "done", {"skip": "exclusive_gating", "gate_bias": -5.5, "learning_rate": 0.1}),
            (30.0, 2e7, 3, "done", {"shortcut": "C", "learning_rate": 0.2}),
            (90.0, 3e7, 3, "diverged", {"learning_rate": 0.4}),
        ]
    ):
        trial = tmp_path / "tuner" / f"trial_{number}"
        trial.mkdir(parents=True)
        result = {"trial": str(number), "values": {**ROWS.default(), **changes}, "error": error, "score": error}
        result |= {
            "macs": int(macs),
            "parameters": 1000,
            "epochs": epochs,
            "budget": epochs,
            "seconds": 2.5,
            "status": status,
        }
        (trial / "result.json").write_text(json.dumps(result))
        (trial / "recipe.json").write_text(json.dumps({"number": number}))
        write_history(trial / "run" / "history.csv", *(error + 5 / epoch for epoch in range(1, epochs + 1)))
    return tmp_path


@pytest.fixture
def undrawn(monkeypatch):
    """Leaves the pictures of a report empty, since drawing them takes most of its time."""
    monkeypatch.setattr("keras_resnet.tuning.pictures.save", lambda figure, path, title: path.touch())


@pytest.mark.usefixtures("undrawn")
def test_a_short_trial_is_never_the_best(folder):
    """15 % after a third of the epochs may be more than 20 % at the end: only full trials are compared."""
    assert write_report(folder)["error"] == 20.0
    assert json.loads((folder / "best_recipe.json").read_text()) == {"number": 0}


@pytest.mark.usefixtures("undrawn")
def test_results_with_the_former_name_of_the_budget_can_be_read(folder):
    """`result.json` used to call it "units"."""
    for path in folder.glob("tuner/trial_*/result.json"):
        path.write_text(path.read_text().replace('"budget"', '"units"'))
    assert write_report(folder)["error"] == 20.0
    assert [result["budget"] for result in results(folder)] == [9, 3, 3, 3]


@pytest.mark.usefixtures("undrawn")
def test_a_damaged_history_is_reported_with_what_to_do(folder):
    history = folder / "tuner" / "trial_1" / "run" / "history.csv"
    history.write_text("epoch,validation_error\n1,20.0\n2")
    with pytest.raises(ValueError, match=r"history\.csv' is damaged: .* Delete it to continue without this trial's"):
        write_report(folder)
    history.unlink()
    assert write_report(folder)["error"] == 20.0


def test_a_report_needs_no_keras_tuner():
    program = "import sys; sys.modules['keras_tuner'] = None; import keras_resnet.tuning.report"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("undrawn")
def test_the_leaderboard_has_every_trial_and_dimension(folder):
    write_report(folder)
    rows = list(csv.DictReader((folder / "leaderboard.csv").open()))
    assert [row["trial"] for row in rows] == ["1", "2", "3", "4"]
    assert [row["gate_bias"] for row in rows] == ["", "-5.5", "", ""]  # inactive without a gate
    assert set(rows[0]) >= {row.name for row in ROWS.dimensions}
    page = (folder / "leaderboard.html").read_text()
    assert page.count("<tr>") == 5
    assert "&lt;digits&gt;" in page
    assert page.count("data:image/png;base64,") == 4
    assert not re.search(r"(src|href)=\"(?!data:)", page)  # nothing to be fetched


def test_the_page_has_units_as_many_digits_in_every_row_and_the_score_only_where_it_is_not_the_error(folder):
    write_report(folder)
    page = (folder / "leaderboard.html").read_text()
    assert "<th>error, %</th>" in page and "<th>multiply-adds</th>" in page and "score" not in page
    assert "<td class=number>20.00</td>" in page and "<td class=number>40,000,000</td>" in page
    path = folder / "tuner" / "trial_1" / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"score": 15.75}))
    write_report(folder)
    page = (folder / "leaderboard.html").read_text()
    assert "<th>score, %</th><th>error, %</th>" in page
    assert "<td class=number>15.75</td><td class=number>15.00</td>" in page


@pytest.mark.usefixtures("undrawn")
def test_the_budget_is_shown_where_it_is_not_the_epochs(folder):
    """Short trials with fewer images have as many epochs: nothing else would tell why they follow the full ones."""
    write_report(folder)
    assert "budget" not in (folder / "leaderboard.html").read_text()
    for path in folder.glob("tuner/trial_*/result.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"epochs": 4}))
    write_report(folder)
    assert "<th>epochs</th><th>budget, ninths</th>" in (folder / "leaderboard.html").read_text()
    rows = list(csv.DictReader((folder / "leaderboard.csv").open()))
    assert [(row["error"], row["epochs"], row["budget"]) for row in rows] == [
        ("20.0", "4", "9"),
        ("15.0", "4", "3"),
        ("30.0", "4", "3"),
        ("90.0", "4", "3"),
    ]


def test_plots_are_drawn(folder):
    write_report(folder)
    for name in ("front", "dimensions", "curves", "parallel"):
        assert cv2.imread(str(folder / f"{name}.png")).std() > 5


def test_a_trial_is_not_drawn_at_a_value_of_a_dimension_that_it_does_not_have(folder, monkeypatch):
    """Three of the four trials have no gate; the other's bias of -5.5 is at 2.5 / 8 of the range from -8 to 0."""
    figures = []
    monkeypatch.setattr("keras_resnet.tuning.pictures.save", lambda figure, *_: figures.append(figure))
    draw_parallel(results(folder), ROWS, folder / "parallel.png", "")
    axes = figures[0].axes[0]
    place = [label.get_text() for label in axes.get_xticklabels()].index("gate_bias")
    heights = [line.get_ydata()[place] for line in axes.lines if len(line.get_xdata()) > 2]
    assert [height for height in heights if not np.isnan(height)] == [0.3125] and len(heights) == 4


def test_a_range_of_more_than_a_decade_has_ticks_all_over_it_wherever_the_trials_are(folder, monkeypatch):
    """The learning rates are from 0.05 to 0.4, and their range begins at 0.01."""
    figures = []
    monkeypatch.setattr("keras_resnet.tuning.pictures.save", lambda figure, *_: figures.append(figure))
    draw_dimensions(results(folder), ROWS, folder / "dimensions.png", "")
    (axes,) = (axes for axes in figures[0].axes if axes.get_xlabel() == "learning_rate")
    assert axes.get_xlim() == (0.01, 0.4)
    ticks = axes.get_xticks()
    assert [float(tick) for tick in ticks if 0.0099 < tick < 0.4] == pytest.approx([0.01, 0.02, 0.05, 0.1, 0.2])


def test_trials_are_compared_at_the_largest_budget_that_one_completed(folder):
    """The trial of nine epochs diverged; those of three were completed."""
    outcomes = results(folder)
    assert [result["trial"] for result in completed(outcomes)] == ["0"]
    outcomes[0]["status"] = "diverged"
    assert [result["trial"] for result in completed(outcomes)] == ["1", "2"]


def test_the_front_is_the_set_of_trials_that_no_other_beats():
    pairs = ((1, 9), (2, 9), (2, 7), (3, 8), (4, 5), (4, 6), (5, 5))
    results = [{"macs": macs, "error": error} for macs, error in pairs]
    expected = [
        one
        for one in results
        if not any(
            other["macs"] <= one["macs"] and other["error"] <= one["error"] and other != one for other in results
        )
    ]
    assert front(results) == expected == [{"macs": 1, "error": 9}, {"macs": 2, "error": 7}, {"macs": 4, "error": 5}]


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"contains no search\.json"):
        write_report(tmp_path)
    (tmp_path / "search.json").write_text('{"space": {"width": "1,2"}}')
    with pytest.raises(ValueError, match="has ended yet"):
        write_report(tmp_path)


def test_results_are_in_the_order_of_the_trials(tmp_path):
    """Without a number of trials, theirs have no leading zeros."""
    for number in (10, 9, 2):
        path = tmp_path / "tuner" / f"trial_{number}" / "result.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"trial": str(number)}))
    assert [result["trial"] for result in results(tmp_path)] == ["2", "9", "10"]


@pytest.mark.usefixtures("undrawn")
def test_the_order_is_that_of_the_scores_which_may_differ_from_the_errors(folder):
    """A score also counts what a network exceeds its targets by."""
    for number, (score, error) in enumerate([(25.0, 18.0), (20.0, 20.0)]):
        path = folder / "tuner" / f"trial_{number}" / "result.json"
        result = {**json.loads(path.read_text()), "score": score, "error": error, "budget": 9}
        path.write_text(json.dumps(result))
    assert write_report(folder)["trial"] == "1"
    assert json.loads((folder / "best_recipe.json").read_text()) == {"number": 1}
    rows = list(csv.DictReader((folder / "leaderboard.csv").open()))
    assert [(row["place"], row["trial"], row["status"]) for row in rows] == [
        ("1", "2", "done"),
        ("2", "1", "done"),
        ("3", "3", "done"),
        ("4", "4", "diverged"),
    ]
