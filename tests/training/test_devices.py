"""A run on many devices, or of many processes, comes to what it comes to on one device."""

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
# Of two units: half of the time is to trace and to compile them, in each process.
NETWORK = {"stage_units": (1, 1), "stage_filters": (4, 8), "shortcut": "B"}
# All that a run has but dropout, of which each device draws its own.
RECIPE = {
    **small_runs.STATEFUL,
    "network": NETWORK,
    "epochs": 3,
    "weight_decay": 1e-2,  # so large that it shows if it is added once a device
    "reestimate": True,
}
TWO_DEVICES, TWO_PROCESSES = {"forced": 2}, {"processes": 2}
LAYOUTS = {"tensorflow": [TWO_DEVICES], "jax": [TWO_DEVICES, TWO_PROCESSES], "torch": [TWO_PROCESSES]}[RUNNING]
TOLERANCE = 1e-4  # relative, of a loss; measured: 1e-6


MUON = {**small_runs.SMALL, "network": NETWORK, "optimizer": "muon", "kernel_rate": 0.05, "epochs": 1}


@dataclass
class Ran:
    """A run in two parts, two devices or two processes, and those behind it in the same processes."""

    layout: dict[str, int]
    out: Path
    written: list[tuple[int, str, str]]  # status, stdout and stderr, of each process
    weights: list[dict[str, np.ndarray]]
    behind: Path


def words(folder, name, layout, choices):
    """The command that trains in a folder's folder, with half of every batch on either of two devices."""
    recipe = folder / f"{name}.json"
    recipe.write_text(json.dumps(choices))
    command = ["train", "--recipe", str(recipe), "--out", str(folder / name), "--json"]
    return [*command, *(["--devices", "2"] if "forced" in layout else [])]


def in_parts(folder, layout, machine=None, behind=(), **changes):
    """Trains as `RECIPE` says, and behind that as others say. If one process is killed, so is the other."""
    of_machine = [f"--{name.replace('_', '-')}={value}" for name, value in (machine or {}).items()]
    command = [*words(folder, "run", layout, RECIPE), *of_machine]
    more = [command if choices is RECIPE else words(folder, "behind", layout, choices) for choices in behind]
    with launch.started(*command, weights=folder / "weights", behind=more, **layout, **changes) as running:
        if running[-1].wait(timeout=600) == -signal.SIGKILL:
            running[0].kill()
        written = launch.ended(running)
    weights = [dict(np.load(path)) for path in sorted(folder.glob("weights*.npz"))]
    return Ran(layout, folder / "run", written, weights, folder / "behind")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Makes the run of a layout by its number, once; behind that of the last, one by Muon."""

    @functools.cache
    def run_of(number):
        layout, behind = LAYOUTS[number], [MUON] if number == len(LAYOUTS) - 1 else []
        ran = in_parts(tmp_path_factory.mktemp("parts"), layout, behind=behind)
        assert [status for status, *_ in ran.written] == [0] * layout.get("processes", 1), ran.written
        return ran

    return run_of


@pytest.fixture(params=range(len(LAYOUTS)), ids=lambda number: "two " + "".join(LAYOUTS[number]))
def ran(request, runs):
    return runs(request.param)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The folder of the same run on one device."""
    return whole(tmp_path_factory.mktemp("alone"), RECIPE)


def whole(out, choices):
    """Trains on one device."""
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
    """53 images in batches of 20 for 2 devices: some are tested twice, and counted once."""
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
    found, expected = small_runs.arrays(ran.out / "model.keras"), small_runs.arrays(alone / "model.keras")
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-4, err_msg=name)
    last = Path("checkpoints") / "epoch_0003.keras"
    for name in ("model.keras", last):
        found, expected = (layers(small_runs.config(folder / name)) for folder in (ran.out, alone))
        assert found == expected


def test_muon_comes_to_the_network_of_one_device_too(runs, tmp_path):
    """On the last of the layouts: a kernel is made orthogonal of the whole batch's gradient."""
    ran = runs(len(LAYOUTS) - 1)
    found, expected = (small_runs.arrays(out / "model.keras") for out in (ran.behind, whole(tmp_path / "alone", MUON)))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-4, err_msg=name)


def layers(config):
    """A model's layers, without the numbers by which Keras tells objects apart."""
    return json.loads(re.sub(r', "shared_object_id": \d+', "", config))["config"]["layers"]


def test_every_process_has_the_same_weights(ran):
    assert len(ran.weights) == ran.layout.get("processes", 1)
    for weights in ran.weights[1:]:
        assert weights.keys() == ran.weights[0].keys()
        assert all(np.array_equal(weights[name], value) for name, value in ran.weights[0].items())


def test_one_process_alone_writes_and_speaks(ran):
    (_, stdout, stderr), *others = ran.written
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

    def test_a_run_that_one_process_stops_and_one_is_killed_in_goes_on_as_if_nothing_had_been(runs, tmp_path):
        """All stop where one is asked to; and when one is lost, a scheduler starts all of them again."""
        ran = runs(LAYOUTS.index(TWO_PROCESSES))
        signals = [(1, 2, signal.SIGTERM), (2, 3, signal.SIGKILL)]
        lost = in_parts(tmp_path, ran.layout, machine={"save_every": 1e-9}, behind=[RECIPE], signals=signals)
        (_, _, told), *_ = lost.written
        stopped, _, killed = told.partition("It ended with status 75\n")
        assert "stopped by SIGTERM; the run is saved after step 2 of epoch 1" in stopped
        assert killed.startswith("Resuming after step 2 of epoch 1 of 3.\n")
        assert ["It ended with status 75" in told for _, _, told in lost.written] == [True, True]
        assert lost.written[-1][0] == -signal.SIGKILL
        resumed = in_parts(tmp_path, ran.layout)
        assert [status for status, *_ in resumed.written] == [0] * len(ran.written), resumed.written
        assert resumed.written[0][2].startswith("Resuming after step 2 of epoch 2 of 3.\n")
        assert small_runs.results(resumed.out) == small_runs.results(ran.out)


# Cores that nobody asked for

if RUNNING == "jax":

    def test_a_core_each_is_a_device_where_one_alone_would_compute_and_as_many_as_divide_a_batch(tmp_path):
        """Of three cores two take 16 of 32 images each; at most as many as there are eight images for."""
        command = ["train", "digits", "--model", "resnet8", "--stage-units", "1", "--stage-filters", "4"]
        command += ["--epochs", "1", "--batch-size", "32", "--json"]
        out = str(tmp_path / "run")
        with launch.started(*command, "--out", out, forced=3, side=32, weights=tmp_path / "weights") as running:
            ((status, stdout, stderr),) = launch.ended(running)
        assert status == 0, stderr
        assert json.loads(stdout)["devices"] == 2
