"""The `keras-resnet` command: what it prints, and what it says to a mistake."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest

import facts
import keras_resnet
import small_runs
from keras_resnet import Spec, backend, cli, saving
from keras_resnet.analysis.kinds import KINDS
from keras_resnet.data import DATASETS
from keras_resnet.models.catalog import ARCHITECTURES
from keras_resnet.options import given
from keras_resnet.training.processes import Processes
from keras_resnet.training.recipe import Recipe, as_json
from keras_resnet.training.recipes import recipe_for

COMMANDS = ("summary", "train", "evaluate", "predict", "features", "convert", "analyze", "reproduce", "tune", "export")


@pytest.fixture(autouse=True)
def few_digits_in_an_empty_folder(monkeypatch, tmp_path):
    monkeypatch.setitem(DATASETS, "digits", small_runs.few_digits())
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def command(capsys):
    """Runs the command as a shell would, in this process; returns its status and what it wrote to stdout and stderr."""

    def run(line):
        capsys.readouterr()
        try:
            status = cli.main(shlex.split(line))
        except SystemExit as end:
            status = end.code
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def mistake(command):
    """Runs the command with a mistake: one line on stderr, with these words, status 2, and nothing written."""

    def run(line, *words):
        before = small_runs.files(Path())
        status, out, err = command(line)
        assert (status, out, err.count("\n")) == (2, "", 1), err
        assert err.startswith("keras-resnet")
        for word in words:
            assert word in err
        assert small_runs.files(Path()) == before

    return run


# A mistake of the user's


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", ("COMMAND", "keras-resnet --help")),
        ("trian digits", ("'trian'", "train")),
        ("train digits --learningrate 1", ("--learningrate", "near: --learning-rate", "keras-resnet train --help")),
        ("train digits --epochs ten", ("--epochs", "'ten'")),
        ("train digits --epochs 0", ("`epochs`", "at least 1", "0")),
        ("train digits --batch-size -1", ("`batch_size`", "at least 1", "-1")),
        ("train digits --learning-rate nan", ("`learning_rate`", "nan")),
        ("train digits --schedule steps", ("step, plateau, cosine, linear", "'steps'")),
        ("train digits --precision half", ("mixed_bfloat16", "'half'")),
        ("train digits --drops half", ("--drops", "'half'")),
        ("train digits --seed 4294967296", ("`seed`", "2**32", "4294967296")),
        ("train digits --shortcut D", ("'A', 'B', 'C'", "'D'")),
        ("train digits --order preactivation", ("'full_preactivation'", "'preactivation'")),
        ("train digits --gate-bias -6", ("`gate_bias`", "'exclusive_gating'", "'identity'")),
        ("train", ("data set", "digits", "cifar10")),
        ("train mnst", ("'mnst'", "'digits'", "'cifar10'", "'cifar100'")),
        ("train cifar", ("'cifar'", "did you mean 'cifar10'")),
        ("train digits --model resnet23", ("23", "6n+2", "20 and 26")),
        ("train digits --model resnet7 --unit bottleneck", ("7", "8")),
        ("train digits --model resent50", ("'resent50'", "resnet50")),
        ("train digits --model resnet50", ("32x32", "(8, 8, 1)")),
        ("train digits --recipe papers", ("'papers'", "paper, modern", "near: paper")),
        ("train digits --recipe nothing.json", ("'nothing.json'", "No such file")),
        ("train digits --validation 97", ("97", "1 to 96")),
        ("train digits --devices 0", ("`devices`", "at least 1", "0")),
        ("train digits --devices 99", ("99", "devices")),
        ("train digits --backend mxnet", ("'mxnet'", "tensorflow, jax, torch")),
        ("train cifar10 --data-dir nowhere", ("nowhere", "no such folder")),
        ("evaluate nothing.keras digits", ("'nothing.keras'", "Give a `.keras` file or the folder of a finished run")),
        ("evaluate nothing.keras digits --batch-size 0", ("--batch-size", "at least 1", "0")),
        ("evaluate nothing.keras digits --split all", ("'all'", "test", "train")),
        ("evaluate", ("MODEL, DATASET",)),
        ("evaluate model.keras", ("DATASET",)),
        ("evaluate nothing.keras digits --crops 5", ("--crops", "1, 10")),
        ("evaluate nothing.keras digits --scales 224,x", ("--scales", "224,x")),
        ("evaluate nothing.keras digits --crops 10 --scales 224", ("`scales` show whole images",)),
        ("evaluate nothing.keras digits --size 0", ("--size", "at least 1")),
        ("predict nothing.keras image.png", ("'nothing.keras'",)),
        ("features nothing.keras image.png out.npy", ("'nothing.keras'",)),
        ("features nothing.keras image.png", ("OUT",)),
        ("reproduce", ("Name an experiment", "--list")),
        ("reproduce he2016-tabel2", ("'he2016-tabel2'", "he2016-table2")),
        ("reproduce he2016-table2 --only nothing", ("original, 110", "nothing")),
        ("reproduce he2016-table2 --budget small", ("depth=20,epochs=4", "'small'")),
        ("reproduce he2016-table2 --seeds 0", ("--seeds", "at least 1")),
        ("analyze responses nothing.keras digits", ("'nothing.keras'",)),
        ("analyze souls nothing.keras digits", ("'souls'", "responses")),
        ("analyze paths resnet23 digits", ("23", "20 and 26")),
        ("analyze paths resnet20 plainnet8 nothing", ("nothing",)),
        ("analyze paths nothing.keras digits --shortcut A", ("shortcut", "'nothing.keras'")),
        ("analyze paths plainnet8 digits --images 0", ("--images", "at least 1")),
        ("tune nothing", ("nothing",)),
        ("tune digits --space everything", ("'everything'", "shape, network, recipe, all")),
        ("tune digits --set width", ("--set", "NAME=VALUES")),
        ("tune digits --set widht=1,2", ("'widht'", "near: width")),
        ("tune digits --without depth", ("'depth'", "units_per_stage")),
        ("tune digits --space shape --set units_per_stage=1 --set width=1 --set shortcut=B", ("The space is empty",)),
        ("tune digits --max-trials 0", ("--max-trials", "at least 1")),
        ("tune digits --validation 2000", ("`validation`", "2000")),
        ("export nothing.keras out", ("'nothing.keras'", "finished run")),
        ("export nothing.keras out --warm-up 1,x", ("--warm-up", "'1,x'")),
        ("export nothing.keras out --format pt", ("`format`", "saved_model, onnx", "'pt'")),
        ("export nothing.keras out --labels nothing.txt", ("'nothing.txt'", "No such file")),
        ("tune digits --target-latency 0", ("--target-latency", "above 0")),
        ("tune digits --target-latency 5 --target-macs 1000000", ("one target", "--target-macs or --target-latency")),
        ("tune digits --fidelity size", ("have one size", "epochs")),
        ("convert nothing.pth out.keras --model resnet18", ("'nothing.pth'", "file that exists or")),
        ("convert hf://resnet18 out.keras --model resnet18", ("hf://OWNER/NAME",)),
        ("convert imagenet out.keras --model resnet20", ("No ImageNet weights", "ResNet50V2")),
        ("convert imagenet out.keras --model resnet50 --mean 1,x", ("--mean",)),
        ("predict nothing.keras image.png --top 0", ("--top", "at least 1", "0")),
        ("summary resnet23", ("23", "20 and 26")),
        ("summary ResNet51", ("51", "50 and 56")),
        ("summary resnet20 --classes 0", ("--classes", "at least 1", "0")),
        ("summary resnet20 --image-size -32", ("--image-size", "at least 1", "-32")),
        ("summary resnet20 --width 0", ("`width`", "above 0", "0")),
        ("summary resnet20 --width inf", ("`width`", "above 0", "inf")),
        ("summary resnet50 --image-size 8", ("at least 32x32", "8x8")),
    ],
)
def test_a_mistake_in_the_command_line_is_told_in_a_line(mistake, line, words):
    mistake(line, *words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"dataset":', ("no recipe", "line 1")),
        ("[]", ("no recipe", "not a JSON object")),
        ('{"epoch": 3}', ("'epoch'", "near: epochs")),
        ('{"epochs": "three"}', ("`epochs`", "'three'")),
        ('{"network": {"width": "wide"}}', ("`width`", "'wide'")),
        ('{"network": {"depth": 20}}', ("'depth'",)),
    ],
)
def test_a_recipe_file_that_is_none_is_told_in_a_line(mistake, text, words):
    Path("mine.json").write_text(text)
    mistake("train digits --recipe mine.json", "'mine.json'", *words)


def test_a_data_folder_that_is_half_prepared_is_told_in_a_line(mistake):
    Path("data/cifar10/3.0.2").mkdir(parents=True)
    Path("data/cifar10/3.0.2/cifar10-train.array_record-00000-of-00001").write_bytes(b"half")
    mistake("train cifar10 --data-dir data", "3.0.2", "dataset_info.json", "delete this folder")
    mistake("evaluate nothing.keras cifar10 --data-dir data", "nothing.keras")


def test_a_folder_that_is_not_the_runs_own_is_left_alone(mistake):
    Path("notes").mkdir()
    Path("notes/thesis.tex").write_text("ten years of work")
    Path("file").write_text("x")
    shutil.copytree(small_runs.finished(), "run")
    mistake("train digits --out notes", "'notes'", "no recipe.json", "--out")
    mistake("train digits --out file", "'file'", "--out")
    mistake("train digits --out run", "'run'", "another run", "model 'resnet8' there, 'resnet20' now", "--out")


def test_a_file_that_is_no_model_is_told_in_a_line(mistake):
    whole = (small_runs.finished() / "model.keras").read_bytes()
    Path("truncated.keras").write_bytes(whole[: len(whole) // 2])
    Path("damaged.keras").write_bytes(whole[:30_000] + bytes(1_000) + whole[31_000:])
    Path("text.keras").write_text("hello")
    Path("unfinished").mkdir()
    Path("digit.png").write_bytes(b"never looked at")
    for name in ("truncated.keras", "damaged.keras", "text.keras", "digit.png"):
        mistake(f"evaluate {name} digits", f"'{name}'", "Give a `.keras` file")
        mistake(f"predict {name} digit.png", f"'{name}'", "Give a `.keras` file")
    mistake("evaluate unfinished digits", "'unfinished/model.keras'", "finished run")


def test_a_model_that_does_not_fit_the_data_is_told_in_a_line(mistake, monkeypatch):
    images, labels = np.zeros((5, 32, 32, 3), np.uint8), np.arange(5)
    cifar10 = dataclasses.replace(DATASETS["cifar10"], read=lambda data_dir: (images, labels, images, labels))
    monkeypatch.setitem(DATASETS, "cifar10", cifar10)
    mistake(f"evaluate {small_runs.finished()} cifar10", "knows other classes than cifar10", "'airplane'")
    layers = keras.layers
    keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(3)]).save("three.keras")
    mistake("evaluate three.keras digits", "3 classes", "9")
    keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(3, 3)]).save("map.keras")
    np.save("image.npy", np.zeros((8, 8, 1), np.uint8))
    for line in ("evaluate map.keras digits", "predict map.keras image.npy"):
        mistake(line, "(batch, height, width, channels)", "(None, 6, 6, 3)")


def test_what_is_no_image_is_told_in_a_line(mistake):
    Path("broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    Path("empty").mkdir()
    np.save("vector.npy", np.zeros(3))
    Path("text.npy").write_text("hello")
    for source, *words in (
        ("nothing.png", "No such file"),
        ("broken.png", "not a whole image", ".png"),
        ("empty", "no image", ".png"),
        ("vector.npy", "(n, height, width, channels)", "(3,)"),
        ("text.npy", "no array of images"),
    ):
        mistake(f"predict {small_runs.finished()} {source}", source, *words)


def shell(line, **environment):
    """Runs a command as a user would, in a process of its own."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        shlex.split(line), env={**os.environ, "PATH": path, **environment}, capture_output=True, text=True
    )


def test_a_user_in_a_shell_sees_one_line_and_no_traceback():
    for line, environment, word in (
        ("keras-resnet train digits --model resnet23", {}, "20 and 26"),
        ("keras-resnet train digits", {"KERAS_BACKEND": "theano"}, "Unknown backend 'theano'. Accepted: tensorflow"),
        ("keras-resnet summary resnet20 --order none", {}, "'original'"),
    ):
        done = shell(line, **environment)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
        assert word in done.stderr


def test_a_backend_that_is_not_installed_is_told_with_the_way_to_it(mistake, monkeypatch):
    monkeypatch.setattr(backend, "_installed", lambda module: False)
    mistake("train digits --backend jax", "'jax' is not installed", "pip install 'keras-resnet[jax]'")
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    mistake("train digits", "pip install 'keras-resnet[tensorflow]'")


# A bug, and other ends


def raises_in_numpy(*args, **kwargs):
    np.zeros(3).reshape(2)


def raises_in_keras(*args, **kwargs):
    keras.layers.Dense(-1)


@pytest.mark.parametrize("bug", [raises_in_numpy, raises_in_keras])
def test_a_bug_is_not_told_as_a_mistake_of_the_users(command, monkeypatch, bug):
    monkeypatch.setattr("keras_resnet.training.run.load", bug)
    with pytest.raises(ValueError):
        command("train digits")


def test_a_full_disk_is_told_in_a_line(command, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device", "runs")

    monkeypatch.setattr("keras_resnet.training.run.train", full)
    status, _, err = command("train digits")
    assert (status, err) == (2, "keras-resnet: error: [Errno 28] No space left on device: 'runs'\n")


def test_ctrl_c_ends_in_a_line_that_says_how_to_go_on(command, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("keras_resnet.training.run.train", interrupted)
    status, _, err = command("train digits --out mine")
    assert status == 130
    assert "The same command goes on from the last checkpoint in mine." in err
    monkeypatch.setattr("keras_resnet.saving.load", interrupted)
    status, _, err = command("evaluate run digits")
    assert (status, err) == (130, "\nkeras-resnet: stopped\n")


def test_a_reader_who_has_seen_enough_is_no_error():
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    process = subprocess.Popen(
        ["keras-resnet", "summary"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PATH": path}
    )
    process.stdout.close()  # as `head` does
    assert (process.stderr.read(), process.wait()) == (b"", 0)
    process.stderr.close()


# Help


def test_help_needs_no_keras_and_ends_with_an_example_that_works():
    program = """
import sys
sys.modules["keras"] = None
from keras_resnet.cli import main
for name in sys.argv[1:]:
    try:
        main([name, "--help"])
    except SystemExit as end:
        assert end.code == 0
"""
    done = subprocess.run([sys.executable, "-c", program, *COMMANDS], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    examples = [line for line in done.stdout.splitlines() if line.startswith("example: ")]
    assert len(examples) == len(COMMANDS)
    for name, example in zip(COMMANDS, examples, strict=True):
        program, *words = shlex.split(example.removeprefix("example: "))
        assert (program, words[0]) == ("keras-resnet", name)
        arguments = cli._parser().parse_args(words)
        if name == "train":
            recipe = recipe_for(arguments.recipe, **given(arguments, Recipe), network=given(arguments, Spec))
            assert (recipe.model, recipe.spec.shortcut) == ("resnet56", "A")
    assert "usage: keras-resnet train" in done.stdout


# Summary


def test_the_summary_of_all_networks_takes_less_than_a_second():
    def seconds():
        begun = time.perf_counter()
        done = shell("keras-resnet summary")
        assert done.returncode == 0, done.stderr
        assert all(architecture.__name__ in done.stdout for architecture in ARCHITECTURES.values())
        return time.perf_counter() - begun

    assert any(seconds() < 1 for _ in range(3))  # the machine may be busy


def test_a_network_is_found_in_any_case_and_changed_by_options(command):
    status, out, err = command("summary RESNET34 resnet34 ResNet34 --shortcut C --json")
    assert (status, err) == (0, "")
    first, *others = json.loads(out)
    assert others == [first, first]
    assert (first["network"], first["shortcut"]) == ("ResNet34", "C")
    assert first["parameters"] == facts.IMAGENET_PARAMETERS[34]["v1_C"]
    assert first["paper_macs"] == ""  # the paper prints none for option C


def test_a_depth_without_a_name_of_its_own_is_found(command):
    (row,) = json.loads(command("summary ResNet38V2 --classes 100 --json")[1])
    assert (row["layers"], row["order"], row["units"]) == (38, "full_preactivation", "6-6-6")


def test_the_table_stands_beside_the_paper_and_is_markdown_if_asked(command):
    _, out, _ = command("summary resnet50 resnet110")
    assert "25,557,032" in out and facts.PAPER_FLOPS["50"] in out
    assert "1,727,962" in out and facts.PAPER_PARAMETERS[110] in out
    _, out, _ = command("summary resnet50 --markdown")
    assert all(line.startswith("| ") and line.endswith(" |") for line in out.splitlines()[::2])


def test_the_latency_of_a_network_stands_beside_its_multiply_adds(command):
    (row,) = json.loads(
        command("summary resnet20 --width 0.25 --shortcut B --image-size 16 --classes 7 --latency --json")[1]
    )
    assert 0 < row["latency"] < 1000
    table = command("summary resnet20 --width 0.25 --shortcut B --latency")[1].splitlines()
    assert table[0].split()[-1] == "ms" and float(table[1].split()[-1]) > 0
    assert "ms" not in command("summary resnet20")[1]


# Train, evaluate, predict


def test_a_finished_run_says_what_came_out_and_what_to_try(command):
    shutil.copytree(small_runs.finished(), "run")
    before = small_runs.files(Path())
    status, out, err = command("train --recipe run/recipe.json --out run")
    assert (status, err) == (0, "This run has ended already; what it left is in run\n")
    assert small_runs.files(Path()) == before
    summary = json.loads(Path("run/summary.json").read_text())
    assert f"{summary['test_error']:.2f} % test error after the last of 4 epochs" in out
    for name in ("curves.png", "history.csv", "model.keras"):
        assert f"run/{name}" in out
    commands = [
        line[line.index("keras-resnet") :].split("    ")[0] for line in out.splitlines() if " keras-resnet" in line
    ]
    assert len(commands) == 3
    for line in commands:
        cli._parser().parse_args(shlex.split(line)[1:])  # raises if it could not be run


def test_a_run_that_diverges_ends_in_a_line_with_status_1_and_its_last_good_checkpoint_is_usable(command):
    recipe = as_json(small_runs.small_recipe(**small_runs.EXPLOSIVE))
    Path("mine.json").write_text(json.dumps(recipe))
    status, out, err = command("train --recipe mine.json --out run")
    assert (status, err.count("\n")) == (1, 1)
    assert "diverged" in err and "epoch 2" in err and "--learning-rate" in err
    assert "The last good checkpoint is run/checkpoints/epoch_0001.keras" in err
    assert [path.name for path in Path("run/checkpoints").iterdir()] == ["epoch_0001.keras"]
    assert not Path("run/model.keras").exists() and not Path("run/summary.json").exists()
    kept = small_runs.arrays(Path("run/checkpoints/epoch_0001.keras"))
    assert all(np.isfinite(value).all() for value in kept.values())
    assert [row["epoch"] for row in small_runs.history(Path("run"))] == ["1"]

    status, out, _ = command("evaluate run/checkpoints/epoch_0001.keras digits --json")
    assert (status, json.loads(out)["images"]) == (0, small_runs.TESTED)
    np.save("image.npy", np.zeros((8, 8, 1), np.uint8))
    (result,) = json.loads(command("predict run/checkpoints/epoch_0001.keras image.npy --json")[1])
    assert sum(row["probability"] for row in result["classes"]) <= 1 + 1e-5


def test_evaluate_finds_the_error_that_the_run_reported(command):
    reported = json.loads((small_runs.finished() / "summary.json").read_text())
    for line in ("", "--batch-size 7", f"--batch-size {small_runs.TESTED + 1}"):
        status, out, err = command(f"evaluate {small_runs.finished()} digits --out report --json {line}")
        result = json.loads(out)
        assert (status, err, result["images"]) == (0, "", small_runs.TESTED)
        assert result["error"] == pytest.approx(reported["test_error"], abs=1e-3)
        assert result["wrong"] == round(small_runs.TESTED * reported["test_error"] / 100)
        assert json.loads(Path("report/result.json").read_text()) == result


def test_evaluate_tells_errors_with_intervals_and_leaves_a_report_beside_the_model(command):
    shutil.copytree(small_runs.finished(), "run")
    status, out, err = command("evaluate run/model.keras digits --split train")
    first, worst, calibration, last = out.splitlines()
    assert (status, err) == (0, "")
    assert first.startswith(f"run/model.keras: {small_runs.TRAINED} images, ")
    assert re.search(r"top-1 error [\d.]+ % \([\d.]+ to [\d.]+\), top-5 error .*; [\d,.]+ images/s$", first)
    assert worst.startswith("Most often wrong: ")
    assert calibration.startswith("Expected calibration error ")
    files = ["result.json", "classes.csv", "confusion.png", "calibration.png"]
    assert last == f"Look at run/evaluation/digits-train/: {', '.join(files)}"
    assert sorted(path.name for path in Path("run/evaluation/digits-train").iterdir()) == sorted(files)


def test_evaluate_tells_of_an_ensemble_and_of_each_of_its_members(command):
    shutil.copytree(small_runs.finished(), "one")
    shutil.copytree("one", "two")
    status, out, _ = command("evaluate one two digits")
    assert status == 0
    assert [line.partition(":")[0] for line in out.splitlines()[:3]] == ["one", "two", "one + two"]
    errors = {line.partition("wrong")[0].partition(":")[2] for line in out.splitlines()[:3]}
    assert len(errors) == 1  # of two equal networks
    assert Path("one/evaluation/digits-test-ensemble-of-2/result.json").is_file()


def test_a_report_that_cannot_be_written_does_not_take_the_result_along(command):
    shutil.copytree(small_runs.finished(), "run")
    Path("run/evaluation").write_text("in the way")
    status, out, err = command("evaluate run digits")
    assert (status, err.count("\n")) == (2, 1)
    assert "run: " in out and "top-1 error" in out


def test_predict_names_the_classes(command):
    images = small_runs.few_digits().read(None)[2]
    np.save("images.npy", images[:3])
    status, out, err = command(f"predict {small_runs.finished()} images.npy --top 2 --json")
    assert (status, err) == (0, "")
    results = json.loads(out)
    model = keras.saving.load_model(small_runs.finished() / "model.keras")
    expected = np.asarray(model.predict(images[:3].astype("float32"), verbose=0))
    for index, (result, row) in enumerate(zip(results, expected, strict=True)):
        assert result["image"] == f"images.npy[{index}]"
        assert [entry["class"] for entry in result["classes"]] == list(np.argsort(-row)[:2])
        assert [entry["probability"] for entry in result["classes"]] == pytest.approx(np.sort(row)[:-3:-1], abs=1e-5)
    _, out, _ = command(f"predict {small_runs.finished()} images.npy --top 1")
    best = results[0]["classes"][0]
    assert out.splitlines()[0] == f"images.npy[0]: {best['name']} {100 * best['probability']:.1f} %"


def test_predict_tells_what_it_can_of_a_folder_and_names_what_does_not_decode(command):
    Path("photos").mkdir()
    cv2.imwrite("photos/digit.png", small_runs.few_digits().read(None)[2][0])
    Path("photos/broken.png").write_bytes(b"no image")
    status, out, err = command(f"predict {small_runs.finished()} photos --top 1")
    assert (status, out.count("\n"), err.count("\n")) == (2, 1, 1)
    assert out.startswith("photos/digit.png: ")
    assert err.startswith("keras-resnet: error: photos/broken.png: not a whole image")
    status, out, err = command(f"predict {small_runs.finished()} photos --json")
    broken, digit = json.loads(out)
    assert (status, err.count("\n"), broken.keys(), digit.keys()) == (
        2,
        1,
        {"image", "error"},
        {"image", "classes"},
    )


def test_predict_explains_itself_by_pictures(command):
    np.save("images.npy", small_runs.few_digits().read(None)[2][:2])
    status, out, err = command(f"predict {small_runs.finished()} images.npy --top 1 --explain why --json")
    assert (status, err) == (0, "")
    assert [row["explanation"] for row in json.loads(out)] == ["why/images.npy[0].png", "why/images.npy[1].png"]
    assert cv2.imread("why/images.npy[1].png").shape[2] == 3


def test_features_go_to_a_file(command):
    np.save("images.npy", small_runs.few_digits().read(None)[2][:3])
    status, out, err = command(f"features {small_runs.finished()} images.npy out.npz --taps stage2,pooled")
    assert (status, out, err) == (0, "3 images, 8 of stage2, 16 of pooled: out.npz\n", "")
    assert np.load("out.npz")["pooled"].shape == (3, 16)
    Path("photos").mkdir()
    cv2.imwrite("photos/digit.png", small_runs.few_digits().read(None)[2][0])
    Path("photos/broken.png").write_bytes(b"no image")
    status, out, err = command(f"features {small_runs.finished()} photos out.npy --json")
    assert (status, json.loads(out)["images"], err.count("\n")) == (2, 1, 1)
    assert err.startswith("keras-resnet: error: photos/broken.png: not a whole image")


def test_what_to_try_next_can_be_typed_as_it_stands(command, monkeypatch):
    monkeypatch.setattr("keras_resnet.training.run.train", lambda *a, **k: SUMMARY)
    monkeypatch.setattr(sys, "argv", [".venv/bin/keras-resnet", "train", "digits"])
    monkeypatch.setenv("PATH", "/nowhere")
    assert "Try       .venv/bin/keras-resnet evaluate runs/digits-resnet20 digits\n" in command("train digits")[1]
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert "Try       keras-resnet evaluate runs/digits-resnet20 digits\n" in command("train digits")[1]


SUMMARY = {"test_error": 2.0, "epochs": 60, "seconds": 50.0, "parameters": 269434}


def test_convert_reports_what_it_used_and_the_file_takes_raw_images(command):
    keras_resnet.CifarResNet(8, input_shape=(8, 8, 1)).save("bare.keras")
    known = "--labels digits --mean 0.5 --deviation 0.5"
    status, out, err = command(f"convert bare.keras out.keras --model resnet8 {known}")
    assert (status, err) == (0, "")
    assert "resnet8: 37 tensors of bare.keras, all used, none missing; " in out
    assert "out.keras takes raw RGB images of 0 to 255 (subtract [127.5], divide by [127.5])" in out
    np.save("image.npy", np.zeros((1, 8, 8, 1), np.uint8))
    (result,) = json.loads(command("predict out.keras image.npy --json --top 10")[1])
    assert {row["name"] for row in result["classes"]} == set("0123456789")
    report = json.loads(command("convert out.keras again.keras --json")[1])
    assert (report["model"], report["labels"], report["normalization"]["mean"]) == ("resnet8", 10, [127.5])


def test_convert_takes_labels_from_a_text_file(command):
    keras_resnet.CifarResNet(8, classes=2).save("bare.keras")
    Path("names.txt").write_text("cat\ndog\n")
    status, out, _ = command("convert bare.keras out.keras --model resnet8 --labels names.txt --json")
    assert (status, json.loads(out)["labels"]) == (0, 2)
    assert saving.read_info("out.keras")["class_names"] == ["cat", "dog"]


def test_reproduce_lists_the_papers_tables_and_figures(command):
    status, out, err = command("reproduce --list")
    assert (status, err) == (0, "")
    for name in ("he2015-table6", "he2016-table1", "he2016-figure6"):
        assert f"\n{name} " in f"\n{out}"
    rows = json.loads(command("reproduce --list --json")[1])
    assert ("he2016-table2", "He et al. 2016, table 2", 10) in [
        (row["name"], row["source"], row["rows"]) for row in rows
    ]


def test_reproduce_reports_what_has_been_run_and_runs_nothing(command, monkeypatch):
    monkeypatch.setattr(Processes, "run", lambda *_: 1 / 0)
    report = json.loads(command("reproduce he2015-table6 --report --seeds 2 --out there --json")[1])
    assert [row["runs"] for row in report["rows"]] == 6 * [0]
    assert Path("there/he2015-table6.html").is_file()


def test_reproduce_says_beforehand_what_it_costs(command):
    budget = "--budget epochs=3,images=1000"
    status, out, err = command(f"reproduce he2015-table6 --dry-run --seeds 2 --only ResNet-20 {budget}")
    assert (status, err) == (0, "")
    first, second = out.splitlines()[1:3]
    assert first.split()[:6] == ["ResNet-20", "0", "resnet20", "20", "269,722", "40,551,040"]
    assert (first.split()[6], second.split()[1], first.split()[-1]) == ("3,000", "1", "missing")
    assert "Scaled: 3 epochs, 1,000 training images." in out
    assert not Path("experiments").exists()
    plan = json.loads(command("reproduce he2015-table6 --dry-run --seeds 1 --only ResNet-20 --json")[1])
    assert (plan["scaled"], plan["runs"][0]["images"]) == ("", 64_000 * 128)


@pytest.mark.parametrize("name", list(KINDS))
def test_analyze_puts_networks_beside_one_another(command, name):
    """One that was trained, and one by its name, as it begins."""
    finished = str(small_runs.finished())
    status, out, err = command(f"analyze {name} {finished} resnet14 digits --out seen --images 6")
    assert (status, err) == (0, "")
    told = out.splitlines()
    assert [line.partition(":")[0] for line in told[:2]] == [finished, "resnet14"]
    assert told[2:] == [f"Look at seen/: {name}.json, {name}.png"]
    found = json.loads(Path(f"seen/{name}.json").read_text())
    assert list(found) == [finished, "resnet14"]
    assert cv2.imread(f"seen/{name}.png").std() > 10
    assert f"{name} " in command("analyze --help")[1]


def test_a_network_that_is_named_is_looked_at_as_it_begins_and_always_the_same(command):
    line = "analyze propagation resnet8 plainnet8 digits --images 6 --json"
    first, again, other = (json.loads(command(text)[1]) for text in (line, line, f"{line} --seed 1"))
    assert first == again != other
    assert [unit["factor"] for unit in first["plainnet8"]["units"]] == [None, 0, None, None]
    assert [unit["factor"] for unit in first["resnet8"]["units"]] == [None, 1, None, None]
    assert Path("analysis/propagation.json").is_file()
    halved = json.loads(
        command(f"{line.replace(' plainnet8', '')} --skip constant_scaling --shortcut-scale 0.5 --shortcut A")[1]
    )
    assert halved["resnet8"]["units"][0]["product"] == 0.5


def test_tune_searches_and_goes_on(command):
    line = "tune digits --space shape --set units_per_stage=1 --set width=0.25,0.5 --set shortcut=B --epochs 1 --out s"
    line = f"{line} --tuner random --images 32 --validation 20 --backend {keras.backend.backend()} --max-trials"
    status, out, err = command(f"{line} 1")
    assert status == 0, err
    assert err.startswith("trial 1/1: ")
    best = json.loads(Path("s/tuner/trial_0/result.json").read_text())
    assert out.splitlines() == [
        f"Best: {best['error']:.2f} % validation error, trial 1.",
        "Look at s/: leaderboard.html, leaderboard.csv, best_recipe.json, and four pictures",
    ]
    status, out, err = command(f"{line} 1 --json")  # nothing is left to do
    assert (status, err, json.loads(out)) == (0, "", best)
    status, _, err = command(f"{line} 1 --seed 1")
    assert (status, "holds another search: its seed differ" in err) == (2, True)
