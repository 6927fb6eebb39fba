"""The verdicts on results, compared with the paper's."""

from __future__ import annotations

import pytest

from keras_resnet.experiments.papers import find_experiment
from keras_resnet.experiments.report import cells
from keras_resnet.experiments.rows import Published, Row
from keras_resnet.experiments.verdict import degradation, order, summarize


def results(*errors):
    return [{"error": error, "summary": {"train_error": 1.0} if error is not None else {}} for error in errors]


def line(published, *errors, scaled=""):
    return summarize(Row("a row", "resnet20", published), results(*errors), scaled)


def test_a_row_has_the_median_and_the_mean_of_its_runs():
    summary = line(Published(6.43, 6.61, 0.16), 6.5, 6.4, 6.9, 6.6, 6.7)
    assert (summary["median"], summary["runs"], summary["published"]) == (6.6, 5, "6.43 (6.61 ± 0.16)")
    assert (summary["mean"], summary["deviation"]) == (pytest.approx(6.62), pytest.approx(0.1924, abs=1e-4))
    assert line(Published(6.43), 6.5)["deviation"] is None


def test_runs_that_diverged_count_in_medians_and_not_in_the_mean():
    """A mean of errors and hundreds would be of nothing."""
    summary = line(Published(6.61), 6.5, None, 6.7, 6.6, None)
    assert (summary["median"], summary["runs"], summary["diverged"]) == (6.7, 5, 2)
    assert summary["mean"] == pytest.approx(6.6)
    assert summary["deviation"] == pytest.approx(0.1)
    assert summary["train_error"] == 1.0
    most = line(Published(6.61), 6.5, None, None)
    assert (most["median"], most["mean"], most["deviation"], most["train_error"]) == (100.0, 6.5, None, 100.0)
    assert cells(most)[3:7] == ["diverged", "", "3, 2 diverged", "diverged"]
    assert line(Published(6.61), None)["mean"] is None
    assert line(Published(6.61), 6.5, None)["median"] == 100.0  # and not 53.25


def test_the_top5_error_is_the_median_of_the_runs_that_measured_it():
    row, runs = Row("a row", "resnet20", Published(23.0, top5=6.7)), results(23.5, 23.0, None)
    assert summarize(row, runs, "")["top5_error"] is None
    measured = [{**run, "top5_error": top5} for run, top5 in zip(runs, (7.1, 6.9, None), strict=True)]
    assert summarize(row, measured, "")["top5_error"] == 7.1  # of 6.9, 7.1 and, since it diverged, 100
    assert summarize(row, [], "")["top5_error"] is None


@pytest.mark.parametrize(
    ("published", "error", "verdict"),
    [
        (Published(8.75), 8.80, "reproduced: within 0.40 of the paper's"),
        (Published(8.75), 8.34, "not reproduced: 0.41 below the paper's"),
        (Published(8.75), 9.15, "reproduced: within 0.40 of the paper's"),  # 9.15 - 8.75 > 0.4 in floating point
        (Published(8.75), 9.16, "not reproduced: 0.41 above the paper's"),
        (Published(4.92, 4.89, 0.14), 5.25, "not reproduced: 0.36 above the paper's"),
        (Published(6.43, 6.61, 0.16), 6.80, "reproduced: within 0.32 of the paper's"),  # 6.43 is the best of five
        (Published(4.92, 4.89, 0.14), 5.15, "reproduced: within 0.28 of the paper's"),
        (Published(fail=True), 34.0, "reproduced: it fails as in the paper"),
        (Published(fail=True), None, "reproduced: it fails as in the paper"),  # it diverged
        (Published(fail=True, above=60.0), 61.0, "reproduced: it fails as in the paper"),
        (Published(fail=True, above=60.0), 34.0, "not reproduced: 34.00 %, the paper's is above 60 %"),
        (Published(fail=True), 9.1, "not reproduced: 9.10 %, the paper's is above 20 %"),
        (Published(8.75), None, "not reproduced: 91.25 above the paper's"),
        (Published(), 8.0, "the paper prints no number"),
    ],
)
def test_the_verdict(published, error, verdict):
    assert line(published, error)["verdict"] == verdict


def test_a_scaled_run_is_never_compared_with_the_paper():
    for published, error in ((Published(8.75), 8.75), (Published(fail=True), 40.0)):
        assert line(published, error, scaled="8 epochs")["verdict"] == "not comparable: scaled"


def test_without_runs_there_is_no_number():
    summary = line(Published(8.75))
    assert (summary["median"], summary["runs"], summary["verdict"]) == (None, 0, "not run")


def test_the_order_counts_pairs_that_differ_clearly():
    rows = [
        Row(name, "resnet20", published)
        for name, published in (
            ("a", Published(6.0)),
            ("b", Published(6.2)),
            ("c", Published(8.0)),
            ("d", Published(fail=True)),
        )
    ]
    lines = [summarize(row, results(error), "") for row, error in zip(rows, (20.0, 19.0, 25.0, 24.0), strict=True)]
    # a-c and b-c as in the paper; a-d and b-d too; c-d the other way round; a-b is too close to count
    assert order(lines, rows) == (4, 5)
    lines[2] = summarize(rows[2], [], "")
    assert order(lines, rows) == (2, 2)


def test_errors_that_differ_by_exactly_the_limit_differ_clearly():
    """In floating point, 6.4 - 6.0 is more than 0.4, but 7.1 - 6.7 is less."""
    for low, high in ((6.0, 6.4), (6.7, 7.1)):
        rows = [Row("a", "resnet20", Published(low)), Row("b", "resnet20", Published(high))]
        lines = [summarize(row, results(error), "") for row, error in zip(rows, (20.0, 21.0), strict=True)]
        assert order(lines, rows) == (1, 1)


@pytest.mark.parametrize("names", ["ab", "ba"])
def test_a_tie_does_not_count_in_whichever_order_the_rows_are(names):
    errors = {"a": 6.0, "b": 8.0}
    rows = [Row(name, "resnet20", Published(errors[name])) for name in names]
    assert order([summarize(row, results(20.0), "") for row in rows], rows) == (0, 0)


def test_the_degradation_of_plain_networks_is_that_of_their_training_errors():
    """He et al. 2015, figures 4 and 6: deeper plain networks have a higher training error; no numbers are printed."""
    names = find_experiment("he2015-figure6").degrading
    assert names == ("plain-20", "plain-32", "plain-44", "plain-56", "plain-110")
    assert find_experiment("he2015-figure4").degrading == ("plain-18", "plain-34")
    errors = dict(zip(names, (1.0, 2.0, 1.5, None, 1.5), strict=True))
    lines = [{"row": name, "train_error": error} for name, error in errors.items()]
    assert degradation(lines, names) == (3, 6)  # neither 2.0 to 1.5, twice, nor the tie
    assert degradation([{"row": "ResNet-20", "train_error": 1.0}], ()) == (0, 0)
