"""`keras-resnet evaluate`."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

import small_runs


def test_evaluate_measures_the_error_that_the_run_reported(command):
    reported = json.loads((small_runs.finished() / "summary.json").read_text())
    for line in ("", "--batch-size 7", f"--batch-size {small_runs.TESTED + 1}"):
        status, out, err = command(f"evaluate {small_runs.finished()} digits --out report --json {line}")
        result = json.loads(out)
        assert (status, err, result["images"]) == (0, "", small_runs.TESTED)
        assert result["error"] == pytest.approx(reported["test_error"], abs=1e-3)
        assert result["wrong"] == round(small_runs.TESTED * reported["test_error"] / 100)
        assert json.loads(Path("report/result.json").read_text()) == result


def test_evaluate_prints_errors_with_intervals_and_writes_a_report_next_to_the_model(command):
    shutil.copytree(small_runs.finished(), "run")
    status, out, err = command("evaluate run/model.keras digits --split train")
    first, worst, calibration, last = out.splitlines()
    assert (status, err) == (0, "")
    assert first.startswith(f"run/model.keras: {small_runs.TRAINED} images, ")
    assert re.search(r"top-1 error [\d.]+ % \([\d.]+ to [\d.]+\), top-5 error .*; [\d,.]+ images/s$", first)
    assert worst.startswith("Most often wrong: ")
    assert calibration.startswith("Expected calibration error ")
    files = ["result.json", "classes.csv", "confusion.png", "calibration.png"]
    assert last == f"Written to run/evaluation/digits-train/: {', '.join(files)}"
    assert sorted(path.name for path in Path("run/evaluation/digits-train").iterdir()) == sorted(files)


def test_evaluate_prints_an_ensemble_and_each_of_its_members(command):
    shutil.copytree(small_runs.finished(), "one")
    shutil.copytree("one", "two")
    status, out, _ = command("evaluate one two digits")
    assert status == 0
    assert [line.partition(":")[0] for line in out.splitlines()[:3]] == ["one", "two", "one + two"]
    errors = {line.partition("wrong")[0].partition(":")[2] for line in out.splitlines()[:3]}
    assert len(errors) == 1  # of two equal networks
    (report,) = Path("one/evaluation").glob("digits-test-ensemble-of-2-*/result.json")
    assert [member["model"] for member in json.loads(report.read_text())["members"]] == ["one", "two"]


def test_the_result_is_printed_even_if_the_report_cannot_be_written(command):
    shutil.copytree(small_runs.finished(), "run")
    Path("run/evaluation").write_text("in the way")
    status, out, err = command("evaluate run digits")
    assert (status, err.count("\n")) == (2, 1)
    assert "run: " in out and "top-1 error" in out


def test_a_test_with_mirror_images_has_a_report_of_its_own(command):
    shutil.copytree(small_runs.finished(), "run")
    status, out, _ = command("evaluate run digits --mirror --json")
    assert (status, json.loads(out)["view"]) == (0, "one view, mirrored too")
    assert Path("run/evaluation/digits-test-one-view-mirrored-too/result.json").is_file()
