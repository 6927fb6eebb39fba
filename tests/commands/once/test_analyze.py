"""`keras-resnet analyze`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

import keras_resnet
import small_runs
from keras_resnet.analysis.analyses import ANALYSES, module_of
from keras_resnet.analysis.report import default_folder


@pytest.mark.parametrize("name", list(ANALYSES))
def test_analyze_compares_networks(command, name):
    """A trained one, and an untrained one given by name."""
    finished = str(small_runs.finished())
    status, out, err = command(f"analyze {name} {finished} resnet14 digits --out seen --images 6")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert [line.partition(":")[0] for line in lines[:2]] == [finished, "resnet14"]
    assert lines[2:] == [f"Written to seen/: {name}.json, {name}.png"]
    report = json.loads(Path(f"seen/{name}.json").read_text())
    assert list(report.pop("networks")) == [finished, "resnet14"]
    assert report == {"analysis": name, "dataset": "digits", "images": 6, "seed": 0, "choices": {}}
    assert cv2.imread(f"seen/{name}.png").std() > 10
    assert f"{name} " in command("analyze --help")[1]


def test_no_network_is_analysed_if_one_of_them_cannot_be(mistake, monkeypatch):
    """A file is known to be plain, or without a top, once it is open; a name even before the data are loaded."""
    for name in ("paths", "identity"):
        monkeypatch.setattr(module_of(name), name, lambda *_, **__: pytest.fail("a network was analysed"))
    small = {"input_shape": (8, 8, 1), "width": 0.25}
    keras_resnet.CifarResNet(8, shortcut=None, **small).save("plain.keras")
    keras_resnet.CifarResNet(8, shortcut="B", include_top=False, pooling="avg", **small).save("topless.keras")
    finished = str(small_runs.finished())
    mistake(f"analyze paths {finished} plain.keras digits", "must have shortcuts", "Received: 'plain.keras'")
    mistake(f"analyze identity {finished} topless.keras digits", "no logits")
    monkeypatch.setattr("keras_resnet.data.load", lambda *_: pytest.fail("the data were loaded"))
    mistake("analyze paths resnet8 plainnet8 digits", "must have shortcuts", "Received: 'plainnet8'")
    mistake("analyze paths resnet8 digits --shortcut none", "must have shortcuts", "Received: 'resnet8'")


def test_a_network_given_by_name_is_untrained_and_reproducible(command):
    line = "analyze propagation resnet8 plainnet8 digits --images 6 --json"
    first, again, other = (json.loads(command(text)[1]) for text in (line, line, f"{line} --seed 1"))
    assert first == again != other
    assert [unit["factor"] for unit in first["networks"]["plainnet8"]["units"]] == [None, 0, None, None]
    assert [unit["factor"] for unit in first["networks"]["resnet8"]["units"]] == [None, 1, None, None]


def test_a_network_that_is_not_finite_is_reported_in_valid_json(command):
    network = keras_resnet.CifarResNet(8, shortcut="B", width=0.25, input_shape=(8, 8, 1))
    network.get_layer("stem_conv").kernel.assign(np.full((3, 3, 1, 16), np.nan))
    network.save("nan.keras")
    out = command("analyze responses nan.keras digits --images 6 --json")[1]
    report = json.loads(out, parse_constant=pytest.fail)
    assert report["networks"]["nan.keras"][0] == {"layer": "stem_bn", "mean": None, "deviation": None}


def test_results_name_their_origin_and_do_not_overwrite_others(command):
    """Another skip, seed or number of images has a folder of its own; only an identical call shares one."""
    halved = "--skip constant_scaling --shortcut-scale 0.5 --shortcut A"
    folders = []
    for more in ("", halved, "--images 6 --seed 1", "--images 6", "--images 6"):
        status, out, _ = command(f"analyze propagation resnet8 digits {more}")
        assert status == 0
        folders.append(Path(out.splitlines()[-1].removeprefix("Written to ").partition("/: ")[0]))
    assert len(set(folders)) == 4 and folders[3] == folders[4]
    assert all(folder.parent == Path("analysis") and folder.name.startswith("digits-resnet8-") for folder in folders)
    assert sorted(Path("analysis").iterdir()) == sorted(set(folders))
    first, second, third, *_ = (json.loads((folder / "propagation.json").read_text()) for folder in folders)
    assert (first["images"], first["seed"], first["choices"]) == (small_runs.TESTED, 0, {})  # all images there are
    assert (third["images"], third["seed"]) == (6, 1)
    assert second["choices"] == {"skip": "constant_scaling", "shortcut_scale": 0.5, "shortcut": "A"}
    ((title, result),) = second["networks"].items()
    assert title == "resnet8 (skip constant_scaling; shortcut_scale 0.5)"  # A is its default shortcut
    assert result["units"][0]["product"] == 0.5


def test_the_default_folder_depends_on_all_networks():
    report = {"dataset": "folder:my/photos/", "seed": 0}
    run = str(small_runs.finished())
    for networks, name in (([run], "photos-"), ([run, "resnet8"], "photos-and-1-more-")):
        folder = default_folder(run, {**report, "networks": dict.fromkeys(networks)}, None)
        assert folder.parent == small_runs.finished() / "analysis"
        assert re.fullmatch(name + "[0-9a-f]{8}", folder.name)
    checkpoint = str(small_runs.finished() / "checkpoints/epoch_0004.keras")
    folder = default_folder(checkpoint, {**report, "networks": {checkpoint: None}}, None)
    assert folder.name.startswith("photos-epoch_0004-")
