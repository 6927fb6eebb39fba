"""Images on the device, and several steps per execution: the results of a run do not depend on them."""

from __future__ import annotations

import json
import signal
from unittest.mock import Mock

import keras
import numpy as np
import pytest

import small_runs
from keras_resnet import backend
from keras_resnet.backend.devices import Devices
from keras_resnet.data import DATASETS, TrainingBatches, load
from keras_resnet.training.callbacks import StepsPerExecution
from keras_resnet.training.checks import check
from keras_resnet.training.device_images import DeviceImages
from keras_resnet.training.interruption import StoppedError
from keras_resnet.training.machine import Machine
from keras_resnet.training.run import train

# Six steps per epoch; the learning rate drops after the eighth.
RECIPE = {"batch_size": 16, "epochs": 2, "drops": (2 / 3,), "drop_factor": 100.0, "ema": 0.9}
RECIPE |= {"pad": 1, "flip": True, "cutout": 2}


@pytest.mark.parametrize(
    "choices",
    [{}, {"flip": False}, {"pad": 0}, {"pad": 0, "cutout": 3}, {"cutout": 3}, {"cutout": 4}],
    ids=str,
)
def test_the_device_crops_images_as_the_host_does(choices):
    """Byte for byte; the host's images are tested in `tests/data/test_augment.py`."""
    images = np.random.default_rng(0).integers(0, 256, (20, 6, 7, 3), dtype=np.uint8)
    chosen = {"seed": 1, "pad": 2, "flip": True, "fill": (9, 99, 199), **choices}
    batches = TrainingBatches(images=images, labels=np.arange(20), batch_size=8, **chosen)
    looked_up = DeviceImages(batches)
    host, views = batches.stream(1, 1), batches.stream_views(1, 1)
    for _ in range(4):  # into another epoch
        (expected, labels), (view, same) = next(host), next(views)
        images = keras.ops.convert_to_numpy(looked_up(view))
        assert (images.dtype, view.dtype) == (np.uint8, np.int32)
        np.testing.assert_array_equal(images, expected)
        np.testing.assert_array_equal(same, labels)


@pytest.fixture(scope="module")
def step_by_step(tmp_path_factory):
    """Folder of a run whose images come from the host, batch by batch."""
    folder = tmp_path_factory.mktemp("step_by_step")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, "digits", small_runs.few_digits())
        train(small_runs.small_recipe(**RECIPE), folder, say=lambda line: None)
    return folder


def assert_close(folder, other):
    """Compares two runs up to rounding, since operations are fused differently."""
    actual, expected = (small_runs.results(each) for each in (folder, other))
    assert actual["recipe"] == expected["recipe"]
    for row, expected_row in zip(actual["history"], expected["history"], strict=True):
        assert row.keys() == expected_row.keys()
        for name in row:
            assert float(row[name]) == pytest.approx(float(expected_row[name]), rel=1e-3), name
    assert actual["checkpoint"] == expected["checkpoint"]
    arrays, expected_arrays = (small_runs.arrays(each / "model.keras") for each in (folder, other))
    assert arrays.keys() == expected_arrays.keys()
    for name, value in expected_arrays.items():
        np.testing.assert_allclose(arrays[name], value, rtol=1e-3, atol=1e-4, err_msg=name)
    assert "Images" not in small_runs.config(folder / "checkpoints" / "epoch_0002.keras")


def multi_step_functions():
    """Returns the backend's functions for several steps; on JAX, those for CPUs and for other devices."""
    if keras.backend.backend() != "jax":
        return [backend.multi_step_function]
    from keras_resnet.backend import jax

    return [jax.one_by_one, jax.in_a_loop]


@pytest.mark.parametrize(("most", "at_once"), [(1, 1), (4, 3), (5, 3), (6, 6), (1000, 6)])
def test_the_steps_of_an_execution_divide_an_epoch(monkeypatch, most, at_once):
    counts, model = [], Mock()
    monkeypatch.setattr(backend, "multi_step_function", lambda model, count: counts.append(count))
    StepsPerExecution(most).prepare(model, 6, None)
    assert (counts, model.steps_per_execution) == ([at_once] if at_once > 1 else [], at_once)


@pytest.mark.parametrize("function", multi_step_functions(), ids=lambda function: function.__name__)
def test_several_steps_per_execution_give_the_same_result(step_by_step, tmp_path, monkeypatch, function):
    """Also if the learning rate drops within an execution."""
    counts = []

    def multi_step_function(model, count):
        counts.append(count)
        return function(model, count)

    monkeypatch.setattr(backend, "multi_step_function", multi_step_function)
    recipe = small_runs.small_recipe(**RECIPE)
    train(recipe, tmp_path, say=lambda line: None, machine=Machine(steps_per_execution=5))
    assert counts == [3]
    assert_close(tmp_path, step_by_step)


def test_images_on_the_device_give_the_same_result(tmp_path):
    """One step at a time; several are tested below. Keras's own augmentation follows the look-up of the images."""
    recipe = small_runs.small_recipe(**RECIPE, mixup=0.5)
    for name, on_device in (("host", False), ("device", True)):
        train(recipe, tmp_path / name, say=lambda line: None, machine=Machine(images_on_device=on_device))
    assert_close(tmp_path / "device", tmp_path / "host")


def test_a_run_may_stop_between_executions_and_resume_with_others(step_by_step, tmp_path, signal_in):
    recipe = small_runs.small_recipe(**RECIPE)
    both = Machine(images_on_device=True, steps_per_execution=3)
    signal_in(2, 3, signal.SIGTERM)
    with pytest.raises(StoppedError, match="after step 3 of epoch 2"):
        train(recipe, tmp_path, say=lambda line: None, machine=both)
    signal_in(0, 0)
    train(recipe, tmp_path, say=lambda line: None, machine=Machine(steps_per_execution=2))  # does not divide 3 steps
    assert_close(tmp_path, step_by_step)


def test_a_profile_counts_steps_and_not_executions(tmp_path):
    lines = []
    machine = Machine(profile=True, images_on_device=True, steps_per_execution=3)
    train(small_runs.small_recipe(**{**RECIPE, "epochs": 3}), tmp_path, lines.append, machine)
    assert [line for line in lines if "ms per step, over 6 steps: input" in line]
    assert json.loads((tmp_path / "profile/profile.json").read_text())["steps"] == 6


MISTAKES = {
    "no steps": ({"steps_per_execution": 0}, {}, "`steps_per_execution` must be at least 1. Received: 0"),
    "a rise before plateaus": (
        {"steps_per_execution": 3},
        {"schedule": "plateau", "rise": 0.5},
        "`steps_per_execution` must be 1 if the learning rate rises",
    ),
    "a warm-up of fixed length before plateaus": (
        {"steps_per_execution": 3},
        {"schedule": "plateau", "warmup_iterations": 2},
        "`steps_per_execution` must be 1 if the learning rate rises",
    ),
    "a warm-up until the error is low enough": (
        {"steps_per_execution": 3},
        {"warmup_rate": 0.01},
        "`steps_per_execution` must be 1 if the learning rate depends",
    ),
}


@pytest.mark.parametrize(("machine", "choices", "message"), MISTAKES.values(), ids=MISTAKES)
def test_steps_that_cannot_be_combined_are_refused(tmp_path, machine, choices, message):
    with pytest.raises(ValueError, match=message):
        train(small_runs.small_recipe(**RECIPE, **choices), tmp_path / "run", print, Machine(**machine))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("machine", [Machine(images_on_device=True), Machine(steps_per_execution=2)], ids=str)
def test_both_options_need_a_single_device(machine):
    data = load("digits")
    recipe = small_runs.small_recipe(**RECIPE).resolve(6, data.defaults())
    check(recipe, data, Devices(), machine)
    with pytest.raises(ValueError, match="needs a single device"):
        check(recipe, data, Devices(replicas=2), machine)
