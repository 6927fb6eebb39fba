"""Which runs of an experiment are begun, and what happens when one fails, is held by another process or is stopped."""

from __future__ import annotations

import dataclasses
import json
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from keras_resnet.evaluation.views import Views
from keras_resnet.experiments.budget import Budget
from keras_resnet.experiments.papers import find_experiment
from keras_resnet.experiments.rows import Experiment, Published, Row
from keras_resnet.experiments.runs import carry_out, plan
from keras_resnet.files import FolderInUseError
from keras_resnet.training.interruption import StoppedError
from keras_resnet.training.processes import Processes
from tiny_experiment import EXPERIMENT, TINY


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


def test_a_row_may_be_tested_with_other_views_than_the_rest(tmp_path):
    runs = plan(find_experiment("he2016-table5"), tmp_path, [0])
    assert [run.views for run in runs] == [Views(), *[Views(size=320, resize=320)] * 5]
    assert runs[0].folder == runs[1].folder  # the same run


@pytest.mark.parametrize(
    ("view", "key", "choices"),
    [
        (None, "", {}),
        (Views(), "--crops 1", {"crops": 1}),
        (Views(crops=10), "--crops 10", {"crops": 10}),
        (Views(size=320, resize=320), "--size 320 --resize 320", {"size": 320, "resize": 320}),
        (Views(scales=(224, 256)), "--scales 224,256", {"scales": (224, 256)}),
    ],
)
def test_the_errors_of_a_view_have_the_key_that_earlier_results_have(tmp_path, view, key, choices):
    (run,) = plan(dataclasses.replace(EXPERIMENT, rows=EXPERIMENT.rows[:1], views=view), tmp_path, [0])
    assert (run.views_key, run.view_choices) == (key, choices)
    errors = {key: {"error": 5.0}} if key else {}
    result = {"error": 7.0, "diverged": False, "views": errors, "analyses": {}}
    run.result_file.parent.mkdir()
    run.result_file.write_text(json.dumps(result))
    assert run.result()["error"] == (5.0 if key else 7.0)


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


@pytest.mark.parametrize("end", ["1,2.5,9", "1,2.5,9.1,\n", "1,x,9.1,3", "1,2.5,9.1,3,4", "\udcff"])
def test_a_damaged_history_is_reported_with_what_to_do(tmp_path, monkeypatch, end):
    """Such as a last line that is half written."""
    (run,) = plan(dataclasses.replace(EXPERIMENT, rows=EXPERIMENT.rows[:1]), tmp_path, [0])
    run.folder.mkdir(parents=True)
    (run.folder / "history.csv").write_text(f"epoch,train_loss,train_error,seconds\n{end}", errors="surrogateescape")
    (run.folder / "recipe.json").write_text("{}")
    monkeypatch.setattr(Processes, "run", lambda *_: (0, "", ""))
    with pytest.raises(ValueError, match=r"history\.csv' is damaged: .* Delete it and the summary\.json beside it"):
        carry_out([run], say=print)
    assert not run.result_file.exists()


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


def test_rows_of_the_same_network_share_a_run(tmp_path, monkeypatch):
    again = dataclasses.replace(EXPERIMENT.rows[0], name="again")
    begun, lines = [], []

    def run(_, words):
        folder = Path(words[words.index("--out") + 1])
        folder.mkdir(parents=True)
        (folder / "recipe.json").write_text("{}")
        begun.append(folder)
        return 3, "", "keras-resnet: training diverged"

    monkeypatch.setattr(Processes, "run", run)
    carry_out(plan(dataclasses.replace(EXPERIMENT, rows=(EXPERIMENT.rows[0], again)), tmp_path, [0]), say=lines.append)
    assert (len(begun), len(lines)) == (1, 1)


def test_rows_that_only_test_a_network_differently_are_all_tested_in_one_call(tmp_path, monkeypatch):
    """As the two rows of ResNet-152 in table 5 of 2016: a crop of 224x224, and one of 320x320."""
    crop, errors = dataclasses.replace(EXPERIMENT.rows[0], name="crop", views=Views()), {"1": 23.0, "10": 21.3}
    begun, lines = [], []

    def run(_, words):
        begun.append(words[0])
        if words[0] == "evaluate":
            (crops,) = (word.removeprefix("--crops=") for word in words if word.startswith("--crops="))
            return 0, json.dumps({"error": errors[crops], "top5_error": None, "view": f"{crops} crops"}), ""
        folder = Path(words[words.index("--out") + 1])
        folder.mkdir(parents=True)
        (folder / "recipe.json").write_text("{}")
        (folder / "summary.json").write_text('{"test_error": 12.5}')
        return 0, "{}", ""

    monkeypatch.setattr(Processes, "run", run)
    rows = (crop, dataclasses.replace(EXPERIMENT.rows[0], name="ten crops"))
    runs = plan(dataclasses.replace(EXPERIMENT, rows=rows, views=Views(crops=10)), tmp_path, [0])
    carry_out(runs, workers=2, say=lines.append)
    assert [run.result()["error"] for run in runs] == [23.0, 21.3]
    assert begun == ["train", "evaluate", "evaluate"]
    assert lines == ["crop, seed 0: 23.00 %", "ten crops, seed 0: 21.30 %"]


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


LONG = """
from keras_resnet.experiments.runs import carry_out, plan
from keras_resnet.training.processes import Processes
from keras_resnet.files import FolderInUseError
from keras_resnet.training.interruption import StoppedError
import dataclasses, sys
sys.path.insert(0, {tests!r})
from tiny_experiment import EXPERIMENT
row = dataclasses.replace(EXPERIMENT.rows[0], recipe={{**EXPERIMENT.rows[0].recipe, "epochs": {epochs}}})
try:
    carry_out(plan(dataclasses.replace(EXPERIMENT, rows=(row,)), __import__("pathlib").Path({out!r}), [0]), say=print)
except StoppedError as error:
    sys.exit(75)
"""


def test_when_asked_to_stop_its_runs_save_a_checkpoint(tmp_path):
    program = LONG.format(tests=str(Path(__file__).parents[2]), epochs=400, out=str(tmp_path))
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
