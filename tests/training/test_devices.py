"""A run on several devices, or of several processes, gives the results of one device."""

from __future__ import annotations

import functools
import json
import re
import signal
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest

import launch
import small_runs
from keras_resnet.data import DATASETS
from keras_resnet.training import feed, run
from keras_resnet.training.recipes import recipe_for

RUNNING = keras.backend.backend()
# All features of a run except dropout, whose masks each device draws separately.
RECIPE = {
    **small_runs.STATEFUL,
    "network": small_runs.NETWORK,
    "epochs": 3,
    "weight_decay": 1e-2,  # large enough to show if it were added once per device
    "reestimate": True,
}
TWO_DEVICES, TWO_PROCESSES = {"forced": 2}, {"processes": 2}
LAYOUTS = {"tensorflow": [TWO_DEVICES], "jax": [TWO_DEVICES, TWO_PROCESSES], "torch": [TWO_PROCESSES]}[RUNNING]
TOLERANCE = 1e-4  # relative, for losses; measured: 1e-6


MUON = {**small_runs.SMALL, "optimizer": "muon", "kernel_rate": 0.05, "epochs": 1}


@dataclass
class Ran:
    """A run on two devices or in two processes, and a second run after it in the same processes."""

    layout: dict[str, int]
    out: Path
    outputs: list[tuple[int, str, str]]  # status, stdout and stderr of each process
    weights: list[dict[str, np.ndarray]]
    second: Path


def words(folder, name, layout, choices):
    """Returns the command that trains in a subfolder, with half of every batch on each of two devices."""
    recipe = folder / f"{name}.json"
    recipe.write_text(json.dumps(choices))
    command = ["train", "--recipe", str(recipe), "--out", str(folder / name), "--json"]
    return [*command, *(["--devices", "2"] if "forced" in layout else [])]


def in_parts(folder, layout, machine=None, then=(), **changes):
    """Trains by `RECIPE`, and then by others in the same processes. If one process is killed, so is the other."""
    machine_options = [f"--{name.replace('_', '-')}={value}" for name, value in (machine or {}).items()]
    command = [*words(folder, "run", layout, RECIPE), *machine_options]
    more = [command if choices is RECIPE else words(folder, "second", layout, choices) for choices in then]
    with launch.started(*command, weights=folder / "weights", then=more, **layout, **changes) as running:
        if running[-1].wait(timeout=600) == -signal.SIGKILL:
            running[0].kill()
        outputs = launch.ended(running)
    weights = [dict(np.load(path)) for path in sorted(folder.glob("weights*.npz"))]
    return Ran(layout, folder / "run", outputs, weights, folder / "second")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Returns the run of a layout by its number, made once; for the last layout, a run with Muon comes after it."""

    @functools.cache
    def run_of(number):
        layout, then = LAYOUTS[number], [MUON] if number == len(LAYOUTS) - 1 else []
        ran = in_parts(tmp_path_factory.mktemp("parts"), layout, then=then)
        assert [status for status, *_ in ran.outputs] == [0] * layout.get("processes", 1), ran.outputs
        return ran

    return run_of


@pytest.fixture(params=range(len(LAYOUTS)), ids=lambda number: "two " + "".join(LAYOUTS[number]))
def ran(request, runs):
    return runs(request.param)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Folder of the same run on one device."""
    return on_one_device(tmp_path_factory.mktemp("alone"), RECIPE)


def on_one_device(out, choices):
    """Trains on one device; returns the folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, "digits", small_runs.few_digits())
        patch.setattr(feed, "TEST_BATCH", 20)
        run.train(recipe_for(**{**small_runs.SMALL, **choices}), out, say=lambda line: None)
    return out


def test_the_curves_are_those_of_one_device(ran, alone):
    images = {"train": 96, "test": small_runs.TESTED}
    rows = small_runs.history(ran.out)
    assert len(rows) == 3
    for row, expected in zip(rows, small_runs.history(alone), strict=True):
        assert row["learning_rate"] == expected["learning_rate"]  # the warm-up ended at the same step
        for split, count in images.items():
            assert float(row[f"{split}_loss"]) == pytest.approx(float(expected[f"{split}_loss"]), rel=TOLERANCE)
            one_image = 100 / count
            assert float(row[f"{split}_error"]) == pytest.approx(
                float(expected[f"{split}_error"]), abs=1.01 * one_image
            )


def test_every_image_counts_once_in_the_error(ran):
    """53 images in batches of 20 for two devices: some are tested twice, and counted once."""
    for row in small_runs.history(ran.out):
        for split, count in {"train": 96, "test": small_runs.TESTED}.items():
            wrong = float(row[f"{split}_error"]) / 100 * count
            assert wrong == pytest.approx(round(wrong), abs=1e-4)
    summary = json.loads((ran.out / "summary.json").read_text())
    _, _, images, labels = small_runs.few_digits().read(None)
    scores = keras.saving.load_model(ran.out / "model.keras").predict(images.astype("float32"), verbose=0)
    assert summary["test_error"] == pytest.approx(100 * np.mean(scores.argmax(axis=1) != labels), abs=1e-3)
    assert summary["test_images"] == small_runs.TESTED


def test_the_network_is_that_of_one_device_in_stock_layers(ran, alone):
    assert_close(ran.out, alone)
    last = Path("checkpoints") / "epoch_0003.keras"
    for name in ("model.keras", last):
        actual, expected = (layers(small_runs.config(folder / name)) for folder in (ran.out, alone))
        assert actual == expected


def test_muon_gives_the_network_of_one_device_too(runs, tmp_path):
    """On the last of the layouts: an update is orthogonalised from the gradient of the global batch."""
    assert_close(runs(len(LAYOUTS) - 1).second, on_one_device(tmp_path / "alone", MUON))


def assert_close(folder, expected_folder):
    """Compares the networks of two runs."""
    actual, expected = (small_runs.arrays(each / "model.keras") for each in (folder, expected_folder))
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(actual[name], value, rtol=1e-3, atol=1e-4, err_msg=name)


def layers(config):
    """Returns the configurations of a model's layers, without Keras's ids of shared objects."""
    return json.loads(re.sub(r', "shared_object_id": \d+', "", config))["config"]["layers"]


def test_every_process_has_the_same_weights(ran):
    assert len(ran.weights) == ran.layout.get("processes", 1)
    for weights in ran.weights[1:]:
        assert weights.keys() == ran.weights[0].keys()
        assert all(np.array_equal(weights[name], value) for name, value in ran.weights[0].items())


def test_one_process_alone_writes_and_speaks(ran):
    (_, stdout, stderr), *others = ran.outputs
    summary = json.loads(stdout)
    assert summary == json.loads((ran.out / "summary.json").read_text())
    assert (summary["devices"], summary["processes"]) == (2, ran.layout.get("processes", 1))
    assert all(line.startswith(("Training on ", "Epoch ", "3/3 ")) for line in stderr.splitlines()), stderr
    assert [text for _, *text in others] == [["", ""]] * len(others)
    names = ["epoch_0002.keras", "epoch_0003.keras", "history.csv", "curves.png", "model.keras", "recipe.json"]
    assert sorted(path.name for path in ran.out.rglob("*") if path.is_file()) == sorted(
        [".lock", *names, "summary.json"]
    )
    assert "devices" not in json.loads((ran.out / "recipe.json").read_text())


if TWO_PROCESSES in LAYOUTS:  # TensorFlow trains in one

    def test_a_run_resumes_exactly_after_one_process_is_stopped_and_one_is_killed(runs, tmp_path):
        """All stop if one is asked to; and if one is lost, a scheduler starts all of them again."""
        ran = runs(LAYOUTS.index(TWO_PROCESSES))
        signals = [(1, 2, signal.SIGTERM), (2, 3, signal.SIGKILL)]
        lost = in_parts(tmp_path, ran.layout, machine={"save_every": 1e-9}, then=[RECIPE], signals=signals)
        (_, _, stderr), *_ = lost.outputs
        stopped, _, killed = stderr.partition("It ended with status 75\n")
        assert "stopped by SIGTERM; the run is saved after step 2 of epoch 1" in stopped
        assert killed.startswith("Resuming after step 2 of epoch 1 of 3.\n")
        assert ["It ended with status 75" in stderr for _, _, stderr in lost.outputs] == [True, True]
        assert lost.outputs[-1][0] == -signal.SIGKILL
        resumed = in_parts(tmp_path, ran.layout)
        assert [status for status, *_ in resumed.outputs] == [0] * len(ran.outputs), resumed.outputs
        assert resumed.outputs[0][2].startswith("Resuming after step 2 of epoch 2 of 3.\n")
        assert small_runs.results(resumed.out) == small_runs.results(ran.out)


# CPU cores as devices, without `--devices`

if RUNNING == "jax":

    def test_cores_are_devices_as_many_as_divide_a_batch(tmp_path):
        """Of three cores, two take 16 of 32 images each; every core needs at least eight images."""
        command = ["train", "digits", "--model", "resnet8", "--stage-units", "1", "--stage-filters", "4"]
        command += ["--epochs", "1", "--batch-size", "32", "--json"]
        out = str(tmp_path / "run")
        with launch.started(*command, "--out", out, forced=3, side=32, weights=tmp_path / "weights") as running:
            ((status, stdout, stderr),) = launch.ended(running)
        assert status == 0, stderr
        assert json.loads(stdout)["devices"] == 2
