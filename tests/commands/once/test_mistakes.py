"""How the command reports a user's mistakes."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_resnet
import small_runs
from keras_resnet import backend
from keras_resnet.data import DATASETS
from launch import shell


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", ("COMMAND", "keras-resnet --help")),
        ("trian digits", ("'trian'", "train")),
        (
            "train digits --learningrate 1",
            ("--learningrate", "did you mean --learning-rate?", "keras-resnet train --help"),
        ),
        ("train digits --epochs ten", ("--epochs", "'ten'")),
        ("train digits --epochs 0", ("`epochs`", "at least 1", "0")),
        ("train digits --batch-size -1", ("`batch_size`", "at least 1", "-1")),
        ("train digits --learning-rate nan", ("`learning_rate`", "nan")),
        ("train digits --schedule steps", ("'step', 'plateau', 'cosine', 'linear'", "'steps'")),
        ("train digits --precision half", ("mixed_bfloat16", "'half'")),
        ("train digits --drops half", ("--drops", "'half'")),
        ("train digits --seed 4294967296", ("`seed`", "2**32", "4294967296")),
        ("train digits --shortcut D", ("'A', 'B', 'C'", "'D'")),
        ("train digits --order preactivation", ("'full_preactivation'", "'preactivation'")),
        ("train digits --stage-units 1,1", ("`stage_units`", "must have the same length", "(1, 1)", "(16, 32, 64)")),
        ("train digits --stage-units 1,x,1", ("--stage-units", "1,x,1")),
        ("train digits --gate-bias -6", ("`gate_bias`", "'exclusive_gating'", "'identity'")),
        ("train", ("data set", "digits", "cifar10")),
        ("train mnst", ("'mnst'", "'digits'", "'cifar10'", "'cifar100'")),
        ("train Cifar10 --recipe speedrun", ("'Cifar10'", "Did you mean 'cifar10'")),
        ("train cifar", ("'cifar'", "Did you mean 'cifar10'")),
        ("train digits --model resnet23", ("23", "6n+2", "20 and 26")),
        ("train digits --model resnet7 --unit bottleneck", ("7", "9n+2", "11")),
        ("train digits --model resent50", ("'resent50'", "resnet50")),
        ("train digits --model resnet50", ("32x32", "(8, 8, 1)")),
        ("train digits --recipe papers", ("'papers'", "paper, paper2016, modern", "did you mean paper?")),
        ("train digits --probe-epochs 3", ("`probe_epochs` needs `freeze_until`", "3")),
        ("train digits --weights a.keras --model resnet8 --probe-rate 1 --probe-epochs none", ("`probe_epochs`", "1")),
        ("train digits --out ''", ("--out", "must not be empty")),
        ("evaluate a.keras digits --out=", ("--out", "must not be empty")),
        ("analyze paths a.keras digits --out=", ("--out", "must not be empty")),
        ("train digits --recipe=", ("--recipe", "must not be empty")),
        ("tune digits --out ''", ("--out", "must not be empty")),
        ("tune digits --recipe ''", ("--recipe", "must not be empty")),
        ("reproduce table6 --out=", ("--out", "must not be empty")),
        ("predict a.keras image.png --explain ''", ("--explain", "must not be empty")),
        ("predict a.keras ''", ("SOURCE", "must not be empty")),
        ("features a.keras '' out.npy", ("SOURCE", "must not be empty")),
        ("export a.keras ''", ("OUT", "must not be empty")),
        ("train digits --recipe nothing.json", ("'nothing.json'", "No such file")),
        ("train digits --validation 97", ("`validation` must be below 97", "Received: 97")),
        ("train digits --images 98", ("`images` must be at most 97", "training images of digits. Received: 98")),
        ("train digits --validation 90 --images 8", ("`images` must be at most 7", "not held out. Received: 8")),
        ("train digits --devices 0", ("`devices`", "at least 1", "0")),
        ("train digits --devices 99", ("99", "devices")),
        ("tune digits --seed -1", ("--seed", "from 0", "-1")),
        ("tune digits --seed 4294967295", ("--seed", "2**32 - 2", "4294967295")),
        ("tune digits --patience 0", ("--patience", "above 0", "0")),
        ("tune digits --patience ten", ("--patience", "invalid float value: 'ten'")),
        ("tune digits --seed one --images 9", ("--seed", "invalid int value: 'one'")),
        ("tune digits --images many", ("--images", "invalid int value: 'many'")),
        ("tune digits --set schedule=cosine,lineer", ("`schedule` must be one of", "'lineer'")),
        ("train digits --backend mxnet", ("'mxnet'", "tensorflow, jax, torch")),
        ("train cifar10 --data-dir nowhere", ("nowhere", "no such folder")),
        ("evaluate nothing.keras digits", ("'nothing.keras'", "Give a `.keras` file or the folder of a finished run")),
        ("evaluate nothing.keras digits --batch-size 0", ("--batch-size", "at least 1", "0")),
        ("evaluate nothing.keras digits --split all", ("'all'", "test", "train")),
        ("evaluate", ("MODEL, DATASET",)),
        ("evaluate model.keras", ("DATASET",)),
        ("evaluate nothing.keras digits --crops 5", ("`crops` must be one of 1, 10. Received: 5",)),
        ("evaluate nothing.keras digits --scales 224,x", ("--scales", "224,x")),
        ("evaluate nothing.keras digits --crops 10 --scales 224", ("`scales` cannot be combined with",)),
        ("evaluate nothing.keras digits --size 0", ("`size` must be", "at least 1. Received: 0")),
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
        ("analyze paths resnet20 resnet8 nothing", ("nothing",)),
        ("analyze paths nothing.keras digits --shortcut A", ("shortcut", "'nothing.keras'")),
        ("analyze paths nothing.keras digits --seed -1", ("--seed", "from 0", "-1")),
        ("analyze paths plainnet8 digits --images 0", ("--images", "at least 1")),
        ("tune nothing", ("nothing",)),
        ("tune digits --space everything", ("'everything'", "shape, network, recipe, all")),
        ("tune digits --set model=resnet20,resnet21", ("'model' cannot be 'resnet21'", "20 and 26")),
        ("tune digits --set momentum=0.9,1.5", ("'momentum' cannot be 1.5", "below 1. Received: 1.5")),
        ("tune digits --set batch_size=32,0", ("'batch_size' cannot be 0", "at least 1. Received: 0")),
        ("tune digits --set weight_decay=-0.1..0.1", ("'weight_decay' cannot be -0.1", "at least 0. Received: -0.1")),
        ("tune digits --set width", ("--set", "NAME=VALUES")),
        ("tune digits --set widht=1,2", ("'widht'", "did you mean width")),
        ("tune digits --without depth", ("'depth'", "units_per_stage")),
        ("tune digits --space shape --set units_per_stage=1 --set width=1 --set shortcut=B", ("The space is empty",)),
        ("tune digits --max-trials 0", ("--max-trials", "at least 1")),
        ("tune digits --validation 2000", ("`validation`", "2000")),
        ("export nothing.keras out", ("'nothing.keras'", "finished run")),
        ("export nothing.keras out --warm-up 1,x", ("--warm-up", "'1,x'")),
        ("export nothing.keras out --format pt", ("`format`", "'saved_model', 'onnx'", "'pt'")),
        ("export nothing.keras out --labels nothing.txt", ("'nothing.txt'", "No such file")),
        ("tune digits --target-latency 0", ("--target-latency", "above 0")),
        ("tune digits --target-latency 5 --target-macs 1000000", ("one target", "--target-macs or --target-latency")),
        ("tune digits --fidelity size", ("have one size", "epochs")),
        ("convert nothing.pth out.keras --model resnet18", ("'nothing.pth'", "no such file")),
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
def test_a_mistake_in_the_command_line_is_reported_in_one_line(mistake, line, words):
    mistake(line, *words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"dataset":', ("not a recipe", "line 1")),
        ("[]", ("not a recipe", "not a JSON object")),
        ('{"epoch": 3}', ("'epoch'", "did you mean epochs?")),
        ('{"epochs": "three"}', ("`epochs`", "'three'")),
        ('{"network": {"width": "wide"}}', ("`width`", "'wide'")),
        ('{"network": {"depth": 20}}', ("'depth'",)),
    ],
)
def test_an_invalid_recipe_file_is_reported_in_one_line(mistake, text, words):
    Path("mine.json").write_text(text)
    mistake("train digits --recipe mine.json", "'mine.json'", *words)


@pytest.mark.parametrize(
    ("line", "word"),
    [("nothing.keras", "'nothing.keras'"), ("resnet8 resnet23", "23"), ("resnet8 --shortcut D", "'D'"), (".", "model")],
)
def test_analyze_finds_mistakes_in_networks_before_it_downloads_data(mistake, monkeypatch, line, word):
    monkeypatch.setattr("keras_resnet.data.load", lambda *_: pytest.fail("the data set was loaded"))
    names, *options = line.partition(" --")
    mistake(f"analyze responses {names} cifar10{''.join(options)}", word)


def test_a_data_folder_that_is_half_prepared_is_reported_in_one_line(mistake):
    Path("data/cifar10/3.0.2").mkdir(parents=True)
    Path("data/cifar10/3.0.2/cifar10-train.array_record-00000-of-00001").write_bytes(b"half")
    mistake("train cifar10 --data-dir data", "3.0.2", "dataset_info.json", "delete this folder")
    mistake("evaluate nothing.keras cifar10 --data-dir data", "nothing.keras")


def test_a_folder_that_belongs_to_something_else_is_not_touched(mistake):
    Path("notes").mkdir()
    Path("notes/thesis.tex").write_text("ten years of work")
    Path("file").write_text("x")
    shutil.copytree(small_runs.finished(), "run")
    mistake("train digits --out notes", "'notes'", "no recipe.json", "--out")
    mistake("train digits --out file", "'file'", "--out")
    mistake("train digits --out run", "'run'", "another run", "model was 'resnet8', is now 'resnet20'", "--out")


def test_a_file_that_is_not_a_model_is_reported_in_one_line(mistake):
    intact = (small_runs.finished() / "model.keras").read_bytes()
    Path("truncated.keras").write_bytes(intact[: len(intact) // 2])
    Path("damaged.keras").write_bytes(intact)
    small_runs.damage_weights(Path("damaged.keras"))
    Path("text.keras").write_text("hello")
    Path("unfinished").mkdir()
    Path("digit.png").write_bytes(b"never read")
    for name in ("truncated.keras", "damaged.keras", "text.keras", "digit.png"):
        mistake(f"evaluate {name} digits", f"'{name}'", "Give a `.keras` file")
        mistake(f"predict {name} digit.png", f"'{name}'", "Give a `.keras` file")
    mistake("evaluate unfinished digits", "'unfinished/model.keras'", "finished run")


def test_a_model_that_does_not_fit_the_data_is_reported_in_one_line(mistake, monkeypatch):
    images, labels = np.zeros((5, 32, 32, 3), np.uint8), np.arange(5)
    cifar10 = dataclasses.replace(DATASETS["cifar10"], read=lambda data_dir: (images, labels, images, labels))
    monkeypatch.setitem(DATASETS, "cifar10", cifar10)
    mistake(f"evaluate {small_runs.finished()} cifar10", "has other classes than cifar10", "'airplane'")
    layers = keras.layers
    keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(3)]).save("three.keras")
    mistake("evaluate three.keras digits", "3 classes", "digits, which has 10")
    keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(3, 3)]).save("map.keras")
    np.save("image.npy", np.zeros((8, 8, 1), np.uint8))
    for line in ("evaluate map.keras digits", "predict map.keras image.npy"):
        mistake(line, "(batch, height, width, channels)", "(None, 6, 6, 3)")
    for pooling in ("avg", "max"):  # its outputs have the shape of probabilities
        keras_resnet.CifarResNet(8, include_top=False, pooling=pooling, input_shape=(8, 8, 1)).save("features.keras")
        for line in ("evaluate features.keras digits", "predict features.keras image.npy"):
            mistake(line, "'resnet8' ends in pooling", "include_top=True")
    single = keras_resnet.CifarResNet(8, classes=1, classifier_activation=None, input_shape=(8, 8, 1))
    single.save("single.keras")
    for line in ("predict single.keras image.npy", "export single.keras served"):
        mistake(line, "'resnet8' returns a single logit", "sigmoid")


def test_files_that_are_not_images_are_reported_in_one_line(mistake):
    Path("broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    Path("empty").mkdir()
    np.save("vector.npy", np.zeros(3))
    Path("text.npy").write_text("hello")
    for source, *words in (
        ("nothing.png", "No such file"),
        ("broken.png", "cannot be decoded as an image", ".png"),
        ("empty", "no image", ".png"),
        ("vector.npy", "(n, height, width, channels)", "(3,)"),
        ("text.npy", "not an array of images"),
    ):
        mistake(f"predict {small_runs.finished()} {source}", source, *words)


def test_a_user_in_a_shell_sees_one_line_and_no_traceback():
    for line, environment, word in (
        ("keras-resnet train digits --model resnet23", {}, "20 and 26"),
        (
            "keras-resnet train digits",
            {"KERAS_BACKEND": "theano"},
            "Unknown backend 'theano' in the environment variable KERAS_BACKEND. Accepted: tensorflow",
        ),
        ("keras-resnet summary resnet20 --order none", {}, "'original'"),
    ):
        done = shell(line, **environment)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
        assert word in done.stderr


def test_a_mistake_in_kerass_settings_is_reported_in_one_line(mistake):
    Path("keras.json").write_text('{"floatx": "bfloat16"}')
    done = shell("keras-resnet evaluate a.keras digits", KERAS_HOME=str(Path().absolute()))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert "Invalid `floatx` configuration." in done.stderr


def test_losses_and_errors_are_not_summed_in_half_precision(mistake):
    keras.config.set_floatx("float16")  # as by the line "floatx": "float16" of keras.json
    try:
        mistake("train digits --model resnet8 --out run", "`floatx`", "'float16'", "--precision mixed_float16")
    finally:
        keras.config.set_floatx("float32")


def test_a_mistake_is_reported_in_one_line_if_the_package_is_reached_through_a_symbolic_link():
    """As in an environment in a linked home folder, or in /tmp on macOS."""
    Path("linked").symlink_to(Path(keras_resnet.__file__).parents[1])
    done = shell("keras-resnet train digits --model resnet23", PYTHONPATH=str(Path("linked").absolute()))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert "20 and 26" in done.stderr


def test_a_missing_backend_is_reported_with_the_command_that_installs_it(mistake, monkeypatch):
    monkeypatch.setattr(backend.selection, "_installed", lambda module: False)
    mistake("train digits --backend jax", "'jax' is not installed", "pip install '.[jax]'")
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    mistake("train digits", "pip install '.[tensorflow]'")


@pytest.mark.parametrize("line", ["evaluate {} digits", "analyze responses {} digits --images 6"])
def test_a_report_beside_a_model_of_others_is_printed_and_its_error_names_the_option(command, monkeypatch, line):
    def refuse(path, value):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    for name in ("evaluation", "analysis"):
        monkeypatch.setattr(f"keras_resnet.{name}.report.write_json", refuse)
    line = line.format(small_runs.finished())
    status, out, err = command(line)
    assert (status, err.count("\n")) == (2, 1) and out
    assert "Permission denied" in err and err.endswith("Choose another folder with --out.\n")
    assert "--out" not in command(f"{line} --out there")[2]
