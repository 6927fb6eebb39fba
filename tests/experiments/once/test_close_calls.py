"""Verdicts and budgets at their limits, and what a row says itself."""

from __future__ import annotations

import dataclasses
import html
from types import SimpleNamespace

import pytest

from keras_resnet.experiments import pictures
from keras_resnet.experiments.budget import Budget
from keras_resnet.experiments.papers import find_experiment
from keras_resnet.experiments.report import HEADINGS, write_report
from keras_resnet.experiments.report import _row as report_row
from keras_resnet.experiments.report import cells as report_cells
from keras_resnet.experiments.rows import Published, Row
from keras_resnet.experiments.verdict import summarize


def summary(published, *runs):
    """Summarizes runs, given as pairs of test and training error."""
    results = [{"error": error, "summary": {"train_error": train}} for error, train in runs]
    return summarize(Row("a row", "resnet20", published), results, "")


def test_rows_that_differ_in_their_units_name_them():
    """At 20 layers, the networks that represent ResNet-110 and ResNet-164 are both called resnet20."""
    basic, _, _, _, _, bottleneck, *_ = Budget(depth=20).scale(find_experiment("he2016-table2")).rows
    lines = [summarize(row, [], "20 layers at most") for row in (basic, bottleneck)]
    assert [line["model"] for line in lines] == ["resnet20", "resnet20"]
    assert [report_cells(line)[:2] for line in lines] == [
        ["original, 110", "resnet20"],
        ["original, 164", "resnet20 (bottleneck units)"],
    ]
    assert [line["network"] for line in lines] == [{}, {"unit": "bottleneck"}]


def test_the_training_error_is_the_median_of_the_runs():
    assert summary(Published(8.75), (8.7, 1.0), (8.8, 9.0), (8.9, 2.0))["train_error"] == 2.0


def test_a_row_that_fails_in_the_paper_is_above_its_limit_and_not_at_it():
    assert summary(Published(fail=True), (20.0, 1.0))["verdict"].startswith("not reproduced: 20.00 %")
    assert summary(Published(fail=True), (20.01, 1.0))["verdict"].startswith("reproduced")


@pytest.mark.parametrize(("name", "least"), [("depth", 8), ("epochs", 1), ("images", 1)])
def test_a_budget_of_nothing_is_refused(name, least):
    assert Budget(**{name: least})
    with pytest.raises(ValueError, match=rf"The budget's {name} must be at least {least}\. Received: {least - 1}"):
        Budget(**{name: least - 1})


def test_a_shallower_network_keeps_the_warm_up_that_its_row_states():
    """And not that of the depth of the network which it replaces."""
    experiment = find_experiment("he2016-table1")
    row = dataclasses.replace(experiment.rows[0], recipe={"warmup_rate": 0.05})
    (scaled,) = Budget(depth=20).scale(dataclasses.replace(experiment, rows=(row,))).rows
    assert (scaled.spec.depth, scaled.recipe["warmup_rate"]) == (20, 0.05)


def test_curves_are_as_long_as_the_longest_run_whichever_is_the_first(tmp_path, monkeypatch):
    """The first seed may be the one that diverged."""
    completed = {"epoch": [1, 2, 3], "train_error": [50, 40, 30], "test_error": [60, 50, 20]}
    diverged = {"epoch": [1], "train_error": [90], "test_error": [90]}
    figures = []
    monkeypatch.setattr(pictures, "save", lambda figure, *_: figures.append(figure))
    pictures.draw_curves({"a row": [diverged, completed, completed]}, tmp_path / "curves.png", "")
    test = next(line for line in figures[0].axes[0].lines if line.get_label() == "a row: 20.00 %")
    assert test.get_xydata().tolist() == [[1, 60], [2, 50], [3, 20]]


def test_a_report_has_the_median_and_the_mean_in_columns_of_their_own():
    cells = dict(zip(HEADINGS, report_cells(summary(Published(8.75), (8.0, 1), (9.0, 2), (13.0, 3))), strict=True))
    assert cells["measured median, %"] == "9.00"
    assert cells["mean ± deviation"] == "10.00 ± 2.65"


@pytest.mark.parametrize(
    ("runs", "kind"), [(((8.7, 1.0),), "good"), (((18.7, 1.0),), "bad"), ((), "plain")], ids=["good", "bad", "plain"]
)
def test_the_colour_of_a_verdict_says_whether_the_number_was_reproduced(runs, kind):
    line = summary(Published(8.75), *runs)
    assert f"<td class={kind}>{html.escape(line['verdict'])}</td>" in report_row(line)


def test_the_network_that_is_looked_into_is_that_of_the_first_seed(tmp_path):
    experiment = dataclasses.replace(find_experiment("he2015-table6").only(["ResNet-20"]), analysis="responses")

    def run(deviation):
        result = {
            "error": 8.7,
            "diverged": False,
            "summary": {"train_error": 1.0, "device": "a machine", "versions": {}},
            "curves": {},
            "analyses": {"responses": [{"layer": "stem_bn", "mean": 0.0, "deviation": deviation}]},
        }
        return SimpleNamespace(row=experiment.rows[0], result=lambda: result)

    looked = write_report(experiment, [run(0.25), run(0.75)], tmp_path)["looked"]
    assert looked == {"ResNet-20": "1 layers, standard deviation 0.250 on average"}
