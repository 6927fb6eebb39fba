"""The verdicts on results, compared with the paper's."""

from __future__ import annotations

import pytest

from keras_resnet.experiments.rows import Published, Row
from keras_resnet.experiments.verdict import order, summarize


def results(*errors):
    return [{"error": error, "summary": {"train_error": 1.0} if error is not None else {}} for error in errors]


def line(published, *errors, scaled=""):
    return summarize(Row("a row", "resnet20", published), results(*errors), scaled)


def test_a_row_has_the_median_and_the_mean_of_its_runs():
    summary = line(Published(6.43, 6.61, 0.16), 6.5, 6.4, 6.9, 6.6, 6.7)
    assert (summary["median"], summary["runs"], summary["published"]) == (6.6, 5, "6.43 (6.61 ± 0.16)")
    assert (summary["mean"], summary["deviation"]) == (pytest.approx(6.62), pytest.approx(0.1924, abs=1e-4))
    assert line(Published(6.43), 6.5)["deviation"] is None


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


@pytest.mark.parametrize("names", ["ab", "ba"])
def test_a_tie_does_not_count_in_whichever_order_the_rows_are(names):
    errors = {"a": 6.0, "b": 8.0}
    rows = [Row(name, "resnet20", Published(errors[name])) for name in names]
    assert order([summarize(row, results(20.0), "") for row in rows], rows) == (0, 0)
