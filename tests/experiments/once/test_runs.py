"""Runs without a result are trained, none twice, and reported."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from unittest.mock import MagicMock

import cv2
import keras
import pytest

from keras_resnet.experiments.budget import Budget
from keras_resnet.experiments.papers import find_experiment
from keras_resnet.experiments.pictures import draw_curves
from keras_resnet.experiments.report import write_report
from keras_resnet.experiments.rows import Experiment, Published, Row
from keras_resnet.experiments.runs import carry_out, plan
from keras_resnet.saving import FolderInUseError
from keras_resnet.training.interruption import StoppedError
from keras_resnet.training.processes import Processes

TINY = {"images": 64, "epochs": 2, "iterations": None, "batch_size": 32}
EXPERIMENT = Experiment(
    "tiny",
    "Nobody 2015, table 0",
    "two <small> networks",
    (
        Row("narrow", "resnet8", Published(8.75), {"width": 0.25, "shortcut": "B"}, TINY),
        Row(
            "diverges",
            "resnet8",
            Published(fail=True),
            {"width": 0.25, "shortcut": "B"},
            {**TINY, "learning_rate": 1e30},
        ),
    ),
    dataset="digits",
)


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


def test_data_are_prepared_once_before_any_run_starts(tmp_path, monkeypatch):
    """Otherwise each of several parallel runs would download them, without showing its progress."""
    calls = []

    def run(*_):
        calls.append("run")
        raise StoppedError("stopped by SIGTERM")

    monkeypatch.setattr("keras_resnet.experiments.runs.make_available", lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(Processes, "run", run)
    others = dataclasses.replace(EXPERIMENT, dataset="cifar100")
    both = plan(EXPERIMENT, tmp_path, [0, 1], "data") + plan(others, tmp_path, [0, 1], "data")
    with pytest.raises(StoppedError):
        carry_out(both, workers=2)
    assert calls[:3] == [("digits", "data"), ("cifar100", "data"), "run"]
    assert set(calls[2:]) == {"run"}


def test_the_runs_of_this_project_are_found():
    """Even with fields that `Recipe` has gained since; and there are no others."""
    folder = Path(__file__).parents[3] / "experiments"
    commands = re.findall("^keras-resnet reproduce (.*)$", (folder / "README.md").read_text(), re.MULTILINE)
    assert len(commands) == 4
    result_files = set()
    for command in commands:
        name, _, seeds, _, budget = command.split()
        runs = plan(Budget.parse(budget).scale(find_experiment(name)), folder, range(int(seeds)))
        assert all(run.result() is not None for run in runs), command
        result_files |= {run.result_file for run in runs}
    assert set((folder / "results").iterdir()) == result_files


def test_experiments_with_a_row_in_common_share_its_runs(tmp_path):
    other = Experiment(
        "other",
        "",
        "",
        (Row("another name", *[EXPERIMENT.rows[0].model], Published(), EXPERIMENT.rows[0].network, TINY),),
        dataset="digits",
    )
    (one, _), (same,) = plan(EXPERIMENT, tmp_path, [0]), plan(other, tmp_path, [0])
    assert one.folder == same.folder
    keys = {run.key for run in plan(EXPERIMENT, tmp_path, [0, 1])}
    assert len(keys) == 2  # one key per row; its folder contains the seeds
    assert len({run.folder for run in plan(EXPERIMENT, tmp_path, [0, 1])}) == 4


def test_the_report_compares_with_the_paper_in_three_formats(out):
    folder, _ = out
    report = write_report(EXPERIMENT, plan(EXPERIMENT, folder, [0]), folder)
    narrow, diverges = report["rows"]
    assert (narrow["published"], narrow["runs"]) == ("8.75", 1)
    assert diverges["verdict"] == "reproduced: it fails as in the paper"
    text = (folder / "tiny.md").read_text()
    assert f"| narrow | resnet8 | 8.75 | {narrow['median']:.2f} |" in text
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
    assert [bool(run.result()) for run in wanted] == [False, True]  # one that diverged is not analyzed
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
    crops = dataclasses.replace(EXPERIMENT, rows=rows, view={"crops": 10})
    scales = dataclasses.replace(EXPERIMENT, rows=rows, view={"scales": (224, 256)})
    asked = []

    def run(_, words):
        asked.append(words)
        return 0, json.dumps({"error": 10.0 + len(asked), "top5_error": 1.0, "view": "as asked"}), ""

    monkeypatch.setattr(Processes, "run", run)
    for experiment in (crops, scales, crops):
        carry_out(plan(experiment, tmp_path, [0]), say=print)
    assert [words[0] for words in asked] == ["evaluate", "evaluate"]
    assert asked[0][3:5] == ["--crops", "10"]
    assert asked[1][3:5] == ["--scales", "224,256"]
    error = plan(EXPERIMENT, out[0], [0])[0].result()["error"]
    errors = [plan(experiment, tmp_path, [0])[0].result()["error"] for experiment in (EXPERIMENT, crops, scales)]
    assert errors == [error, 11.0, 12.0]
    printed = dataclasses.replace(rows[0], published=Published(8.75, top5=0.5))
    for published, cells in ((rows[0], "| 8.75 | 11.00 |"), (printed, "| 8.75 / 0.50 | 11.00 / 1.00 |")):
        write_report(dataclasses.replace(crops, rows=(published,)), plan(crops, tmp_path, [0]), tmp_path)
        text = (tmp_path / "tiny.md").read_text()
        assert f"| narrow | resnet8 {cells}" in text
        assert ("Errors after a slash are top-5 errors" in text) == (published is printed)


def test_a_row_may_be_tested_with_other_views_than_the_rest(tmp_path):
    runs = plan(find_experiment("he2016-table5"), tmp_path, [0])
    assert [run.view for run in runs] == ["--crops 1", *["--size 320 --resize 320"] * 5]
    assert runs[0].folder == runs[1].folder  # the same run


def test_a_failed_run_ends_the_others_at_once(tmp_path, monkeypatch):
    """The first run takes a minute unless it is stopped."""
    ended = threading.Event()

    def run(_, words):
        if str(plans[0].folder) in words:
            ended.wait(60)
            return 75, "", "asked to stop"
        return 2, "", "keras-resnet: error: no such data"

    plans = plan(two_rows(), tmp_path, [0])
    monkeypatch.setattr(Processes, "run", run)
    monkeypatch.setattr(Processes, "__exit__", lambda *_: ended.set())
    start = time.monotonic()
    with pytest.raises(ValueError, match=r"other, seed 0: .*no such data"):
        carry_out(plans, workers=2, say=print)
    assert time.monotonic() - start < 30


def test_a_run_that_another_process_trains_is_reported_as_such(tmp_path, monkeypatch):
    """The status decides, not the text."""
    monkeypatch.setattr(Processes, "run", lambda *_: (4, "", "keras-resnet: error: training diverged elsewhere"))
    with pytest.raises(FolderInUseError, match="narrow, seed 0: training diverged elsewhere"):
        carry_out(plan(EXPERIMENT, tmp_path, [0]), say=print)
    assert not list(tmp_path.glob("results/*"))


def two_rows():
    other = dataclasses.replace(EXPERIMENT.rows[0], name="other", recipe={**TINY, "epochs": 3})
    return dataclasses.replace(EXPERIMENT, rows=(EXPERIMENT.rows[0], other))


def test_a_run_is_reported_while_others_continue(tmp_path, monkeypatch):
    runs, lines = plan(two_rows(), tmp_path, [0]), []

    def run(_, words):
        deadline = time.monotonic() + 20
        while str(runs[1].folder) in words and not lines and time.monotonic() < deadline:
            time.sleep(0.05)
        lines_before.append(list(lines))
        folder = Path(words[words.index("--out") + 1])
        folder.mkdir(parents=True)
        (folder / "recipe.json").write_text("{}")
        (folder / "summary.json").write_text('{"test_error": 12.5}')
        return 0, "{}", ""

    lines_before = []
    monkeypatch.setattr(Processes, "run", run)
    carry_out(runs, say=lines.append)
    assert lines_before == [[], ["narrow, seed 0: 12.50 %"]]
    assert lines == ["narrow, seed 0: 12.50 %", "other, seed 0: 12.50 %"]


def test_the_progress_bar_counts_the_epochs_of_runs_whose_length_is_in_iterations(tmp_path, monkeypatch):
    """64,000 iterations with 128 of 50,000 images are 164 epochs, as other reproductions of the paper count them."""
    bar = MagicMock()
    monkeypatch.setattr("keras_resnet.experiments.runs.tqdm", bar)
    monkeypatch.setattr("keras_resnet.experiments.runs.make_available", lambda *_: None)
    monkeypatch.setattr(Processes, "run", lambda *_: (75, "", "asked to stop"))
    with pytest.raises(StoppedError):
        carry_out(plan(find_experiment("he2015-table6").only(["ResNet-20"]), tmp_path, [0, 1]), say=print)
    assert bar.call_args.kwargs["total"] == 2 * 164


@pytest.mark.parametrize("text", ['{"error": 1', "[]", "\udcff"])
def test_a_damaged_result_is_reported_in_one_line(tmp_path, text):
    run, *_ = plan(EXPERIMENT, tmp_path, [0])
    run.result_file.parent.mkdir()
    run.result_file.write_text(text, errors="surrogateescape")
    with pytest.raises(ValueError, match=rf"{run.result_file.name}' is damaged: .* Delete it") as caught:
        carry_out([run], say=print)
    assert "\n" not in str(caught.value)


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


LONG = """
from keras_resnet.experiments.runs import carry_out, plan
from keras_resnet.training.processes import Processes
from keras_resnet.saving import FolderInUseError
from keras_resnet.training.interruption import StoppedError
import dataclasses, sys
sys.path.insert(0, {tests!r})
from test_runs import EXPERIMENT
row = dataclasses.replace(EXPERIMENT.rows[0], recipe={{**EXPERIMENT.rows[0].recipe, "epochs": {epochs}}})
try:
    carry_out(plan(dataclasses.replace(EXPERIMENT, rows=(row,)), __import__("pathlib").Path({out!r}), [0]), say=print)
except StoppedError as error:
    sys.exit(75)
"""


def test_when_asked_to_stop_its_runs_save_a_checkpoint(tmp_path):
    program = LONG.format(tests=str(Path(__file__).parent), epochs=400, out=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("runs/*/seed0/history.csv")) and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 75, stderr
    (history,) = tmp_path.glob("runs/*/seed0/history.csv")
    done = len(history.read_text().splitlines()) - 1
    assert 0 < done < 400
    assert list(history.parent.glob("checkpoints/*.keras"))
    assert not list(tmp_path.glob("results/*.json"))
