"""An experiment that was carried out: its results, and the report that compares them with the paper's."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil

import cv2
import keras
import pytest

from keras_resnet.evaluation.views import Views
from keras_resnet.experiments.pictures import draw_curves
from keras_resnet.experiments.report import write_report
from keras_resnet.experiments.rows import Published
from keras_resnet.experiments.runs import carry_out, plan
from keras_resnet.training.processes import Processes
from tiny_experiment import EXPERIMENT


def single_spaced(text):
    """Returns a text without the spaces that align the columns of its tables."""
    return re.sub(" +", " ", text)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """The folder of both runs, and the printed lines."""
    folder, lines = tmp_path_factory.mktemp("experiments"), []
    carry_out(
        plan(EXPERIMENT, folder, [0]), workers=2, backend=keras.backend.backend(), scaled="tiny", say=lines.append
    )
    return folder, lines


def test_each_run_leaves_a_folder_and_a_result(out):
    folder, lines = out
    narrow, diverges = plan(EXPERIMENT, folder, [0])
    result = narrow.result()
    assert {"model", "recipe", "seed", "error", "summary", "curves", "scaled", "diverged"} <= result.keys()
    assert result["error"] == json.loads((narrow.folder / "summary.json").read_text())["test_error"]
    assert [len(result["curves"][name]) for name in ("epoch", "train_error", "test_error")] == [2, 2, 2]
    assert (result["recipe"]["images"], result["diverged"], result["scaled"]) == (64, False, "tiny")
    assert "data_dir" not in result["recipe"]  # results may be published
    assert (diverges.result()["diverged"], diverges.result()["error"]) == (True, None)
    assert sorted(lines) == ["diverges, seed 0: diverged", f"narrow, seed 0: {result['error']:.2f} %"]


def test_nothing_is_trained_twice(out, monkeypatch):
    folder, _ = out
    monkeypatch.setattr("keras_resnet.training.processes.Processes.run", lambda *_: pytest.fail("a run began"))
    carry_out(plan(EXPERIMENT, folder, [0]), say=print)


def test_the_report_compares_with_the_paper_in_three_formats(out):
    folder, _ = out
    report = write_report(EXPERIMENT, plan(EXPERIMENT, folder, [0]), folder)
    narrow, diverges = report["rows"]
    assert (narrow["published"], narrow["runs"]) == ("8.75", 1)
    assert diverges["verdict"] == "reproduced: it fails as in the paper"
    text = (folder / "tiny.md").read_text()
    assert f"| narrow | resnet8 | 8.75 | {narrow['median']:.2f} |" in single_spaced(text)
    assert "| diverges | resnet8 | fail | diverged | | 1, 1 diverged | diverged |" in single_spaced(text)
    assert json.loads((folder / "tiny.json").read_text()) == report
    page = (folder / "tiny.html").read_text()
    assert "two &lt;small&gt; networks" in page
    assert "data:image/png;base64," in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)  # nothing is loaded from elsewhere
    assert cv2.imread(str(folder / "tiny-curves.png")).std() > 10


def test_a_scaled_report_says_so_in_every_format(out):
    folder, _ = out
    write_report(EXPERIMENT, plan(EXPERIMENT, folder, [0]), folder, "2 epochs")
    assert json.loads((folder / "tiny-scaled.json").read_text())["scaled"] == "2 epochs"
    for name in ("tiny-scaled.md", "tiny-scaled.html"):
        text = (folder / name).read_text()
        assert "Scaled: 2 epochs." in text
        assert text.count("not comparable: scaled") == 2
    assert "reproduced:" not in (folder / "tiny-scaled.md").read_text()


def test_a_trained_network_is_analyzed_without_training_again(out):
    folder, _ = out
    again = dataclasses.replace(EXPERIMENT, name="looked", analysis="responses")
    wanted = plan(again, folder, [0])
    assert [bool(run.result()) for run in wanted] == [False, True]  # one that diverged is not analysed
    history = (wanted[0].folder / "history.csv").stat().st_mtime_ns
    carry_out(wanted, backend=keras.backend.backend(), say=print)
    assert (wanted[0].folder / "history.csv").stat().st_mtime_ns == history
    layers = wanted[0].result()["analyses"]["responses"]
    assert [layer["layer"] for layer in layers][:2] == ["stem_bn", "stage1_unit1_bn1"]
    assert plan(EXPERIMENT, folder, [0])[0].result()["error"] == wanted[0].result()["error"]
    report = write_report(again, wanted, folder)
    assert list(report["looked"]) == ["narrow"]
    assert "7 layers, standard deviation" in (folder / "looked.md").read_text()
    assert cv2.imread(str(folder / "looked-responses.png")).std() > 10
    assert (folder / "looked.html").read_text().count("data:image/png;base64,") == 2


def test_each_experiment_tests_a_network_in_its_own_way(out, monkeypatch, tmp_path):
    """Experiments with ten crops, two scales and a single view share a row, whose error differs between them."""
    shutil.copytree(out[0], tmp_path, dirs_exist_ok=True)
    rows = EXPERIMENT.rows[:1]
    crops = dataclasses.replace(EXPERIMENT, rows=rows, views=Views(crops=10))
    scales = dataclasses.replace(EXPERIMENT, rows=rows, views=Views(scales=(224, 256)))
    asked = []

    def run(_, words):
        asked.append(words)
        return 0, json.dumps({"error": 10.0 + len(asked), "top5_error": 1.0, "view": "as asked"}), ""

    monkeypatch.setattr(Processes, "run", run)
    for experiment in (crops, scales, crops):
        carry_out(plan(experiment, tmp_path, [0]), say=print)
    assert [words[0] for words in asked] == ["evaluate", "evaluate"]
    assert asked[0][3] == "--crops=10"
    assert asked[1][3] == "--scales=224,256"
    error = plan(EXPERIMENT, out[0], [0])[0].result()["error"]
    errors = [plan(experiment, tmp_path, [0])[0].result()["error"] for experiment in (EXPERIMENT, crops, scales)]
    assert errors == [error, 11.0, 12.0]
    printed = dataclasses.replace(rows[0], published=Published(8.75, top5=0.5))
    for published, cells in ((rows[0], "| 8.75 | 11.00 |"), (printed, "| 8.75 / 0.50 | 11.00 / 1.00 |")):
        write_report(dataclasses.replace(crops, rows=(published,)), plan(crops, tmp_path, [0]), tmp_path)
        text = single_spaced((tmp_path / "tiny.md").read_text())
        assert f"| narrow | resnet8 {cells}" in text
        assert ("Errors after a slash are top-5 errors" in text) == (published is printed)


def test_curves_of_one_view_say_so_where_the_errors_are_those_of_others(out, monkeypatch, tmp_path):
    """The curves of ImageNet's networks are of centre crops, the errors of ten crops or several scales."""
    shutil.copytree(out[0], tmp_path, dirs_exist_ok=True)
    drawn = []
    monkeypatch.setattr("keras_resnet.experiments.pictures.save", lambda figure, *_: drawn.append(figure))
    monkeypatch.setattr("keras_resnet.experiments.report.pages.image", lambda *_: "")
    monkeypatch.setattr("keras_resnet.experiments.report.write_atomically", lambda path, write: write(path))
    labels, rows = {}, EXPERIMENT.rows[:1]
    (run,) = plan(dataclasses.replace(EXPERIMENT, rows=rows), tmp_path, [0])
    tested = {"--crops 10": {"error": 11.0, "top5_error": 1.0, "view": "ten crops"}}
    run.result_file.write_text(json.dumps({**run.trained(), "views": tested}))
    for view in (None, Views(crops=10)):
        experiment = dataclasses.replace(EXPERIMENT, rows=rows, views=view)
        report = write_report(experiment, plan(experiment, tmp_path, [0]), tmp_path)
        labels[report["view"]] = drawn[-1].axes[0].get_ylabel()
        note = "The errors are those of ten crops; the curves show a single view of each image."
        assert (note in (tmp_path / "tiny.md").read_text()) == (view is not None)
        assert (note in (tmp_path / "tiny.html").read_text()) == (view is not None)
    assert labels == {"": "top-1 error", "ten crops": "top-1 error of a single view"}


def test_twelve_rows_have_curves_that_can_be_told_apart(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("keras_resnet.experiments.pictures.save", lambda figure, *_: drawn.append(figure))
    curve = {"epoch": [1, 2, 3], "train_error": [50, 40, 30], "test_error": [60, 50, 20]}
    draw_curves({f"row {number}": [curve] for number in range(24)}, tmp_path / "curves.png", "")
    lines = [line for line in drawn[0].axes[0].lines if line.get_label().startswith("row")]
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 24


def test_training_and_test_of_one_epoch_can_be_told_apart(tmp_path, monkeypatch):
    """A single epoch has markers and no lines."""
    drawn = []
    monkeypatch.setattr("keras_resnet.experiments.pictures.save", lambda figure, *_: drawn.append(figure))
    draw_curves({"a row": [{"epoch": [1], "train_error": [50], "test_error": [60]}]}, tmp_path / "curves.png", "")
    (axes,) = drawn[0].axes
    assert {line.get_ydata()[0]: line.get_fillstyle() for line in axes.lines} == {50: "none", 60: "full"}
    texts, handles = axes.get_legend().texts, axes.get_legend().legend_handles
    fills = {text.get_text(): line.get_fillstyle() for text, line in zip(texts, handles, strict=True)}
    assert (fills["test"], fills["training"]) == ("full", "none")


def test_curves_continue_after_one_of_several_runs_has_diverged(tmp_path, monkeypatch):
    """The number next to a row is the median of the runs that were completed."""
    completed = {"epoch": [1, 2, 3], "train_error": [50, 40, 30], "test_error": [60, 50, 20]}
    diverged = {"epoch": [1], "train_error": [90], "test_error": [90]}
    drawn = []
    monkeypatch.setattr("keras_resnet.experiments.pictures.save", lambda figure, *_: drawn.append(figure))
    draw_curves({"a row": [completed, diverged, completed]}, tmp_path / "curves.png", "")
    (axes,) = drawn[0].axes
    test = next(line for line in axes.lines if line.get_label() == "a row: 20.00 %")
    assert test.get_ydata().tolist() == [60, 50, 20]
