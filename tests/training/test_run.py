"""The results of a run and the contents of its folder."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import keras
import numpy as np
import pytest

import small_runs
from keras_resnet.data import DATASETS, TrainingBatches
from keras_resnet.training import run
from keras_resnet.training.callbacks import RunRecorder, StepsPerExecution, StopAfterEpoch, StopOnDivergence
from keras_resnet.training.errors import DivergedError
from keras_resnet.training.learning_rate import LearningRate
from keras_resnet.training.profiling import Profile
from keras_resnet.training.progress_bar import Bar
from keras_resnet.training.recipes import recipe_for
from keras_resnet.training.run import train


def percent_wrong(path, images, labels):
    """Returns the error of a saved model on raw images in percent, computed with plain Keras and NumPy."""
    scores = keras.saving.load_model(path, compile=False).predict(images.astype("float32"), verbose=0)
    return 100 * np.mean(scores.argmax(axis=1) != labels)


def test_the_error_is_that_of_the_last_epochs_weights_on_raw_images():
    out = small_runs.finished()
    summary, rows = json.loads((out / "summary.json").read_text()), small_runs.history(out)
    _, _, images, labels = small_runs.few_digits().read(None)
    assert summary["test_error"] == pytest.approx(percent_wrong(out / "model.keras", images, labels), abs=1e-3)
    assert summary["test_error"] == float(rows[-1]["test_error"])
    assert summary["test_loss"] == pytest.approx(float(rows[-1]["test_loss"]), rel=1e-5)
    assert summary["test_images"] == small_runs.TESTED
    assert len({row["test_error"] for row in rows} | {row["test_loss"] for row in rows}) > 2  # the epochs differ


def test_the_speed_is_of_all_images_over_the_seconds_of_all_epochs():
    out = small_runs.finished()
    summary, rows = json.loads((out / "summary.json").read_text()), small_runs.history(out)
    seconds = sum(float(row["seconds"]) for row in rows)
    assert summary["seconds"] == pytest.approx(seconds, abs=0.06)
    assert summary["images_per_second"] == pytest.approx(4 * 96 / seconds, abs=0.06)  # 3 batches of 32 in each epoch


def test_the_saved_weights_are_the_averages():
    out = small_runs.finished()
    data = run.load("digits")
    recipe = run.Recipe(**json.loads((out / "recipe.json").read_text()))
    trained = run.build(recipe, data).logits_model
    trained.load_weights(out / "checkpoints" / "epoch_0004.keras")
    saved = keras.saving.load_model(out / "model.keras", compile=False)
    final, raw, averages = (
        [keras.ops.convert_to_numpy(variable) for variable in variables]
        for variables in (
            saved.trainable_variables,
            trained.trainable_variables,
            trained.optimizer._model_variables_moving_average,
        )
    )
    assert all(np.array_equal(one, other) for one, other in zip(final, averages, strict=True))
    assert not any(np.array_equal(one, other) for one, other in zip(final, raw, strict=True))


def test_the_folder_has_the_documented_files():
    out = small_runs.finished()
    assert sorted(path.name for path in out.iterdir() if path.name != ".lock") == [
        "checkpoints",
        "curves.png",
        "history.csv",
        "model.keras",
        "recipe.json",
        "summary.json",
    ]
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["epoch_0003.keras", "epoch_0004.keras"]
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list(small_runs.history(out)[0]) == [
        "epoch",
        "train_loss",
        "train_error",
        "test_loss",
        "test_error",
        "learning_rate",
        "seconds",
    ]
    summary = json.loads((out / "summary.json").read_text())
    expected = "model dataset epochs test_error train_error parameters macs seconds images_per_second device seed"
    assert {*expected.split(), "versions", "backend"} <= summary.keys()
    assert summary["backend"] == keras.backend.backend()
    assert summary["versions"]["keras"] == keras.__version__
    assert keras.backend.backend() in summary["versions"]
    model = keras.saving.load_model(out / "model.keras")
    assert summary["parameters"] == sum(np.prod(variable.shape) for variable in model.trainable_variables)
    recipe = json.loads((out / "recipe.json").read_text())
    unset = {name for name, value in recipe.items() if value is None}
    of_photographs = {"fingerprint", "size", "crop", "scales", "color", "first_size", "test_size", "test_resize"}
    of_transfer = {"weights", "freeze_until", "probe_epochs", "probe_rate"}
    of_other_schedules = {"scaled_from", "warmup_iterations"}
    assert unset == {"data_dir", "images", *of_other_schedules, *of_photographs, *of_transfer}


class Untouchable:
    """Images that must not be accessed."""


@dataclass
class HeldOut:
    """A run with `--validation`: 84 of 97 images are held out, so that fewer than a batch remain for training."""

    folder: Path
    summary: dict[str, Any]
    images: np.ndarray
    labels: np.ndarray
    trained_on: np.ndarray
    bar: Mock


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("validation")
    images, labels, *_ = small_runs.few_digits().read(None)
    row = replace(small_runs.few_digits(), read=lambda data_dir: (images, labels, Untouchable(), Untouchable()))
    batches, bar = Mock(wraps=TrainingBatches), Mock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, "digits", row)
        patch.setattr("keras_resnet.data.datasets.TrainingBatches", batches)
        patch.setattr("keras_resnet.training.feed.TEST_BATCH", 20)  # does not divide 84
        patch.setattr("keras_resnet.training.progress_bar.tqdm", bar)
        summary = train(small_runs.small_recipe(validation=84, epochs=1), folder, say=lambda line: None)
    return HeldOut(folder, summary, images, labels, batches.call_args.kwargs["images"], bar)


def test_validation_trains_on_the_rest_and_never_touches_the_test_images(held_out):
    trained_on = {image.tobytes() for image in held_out.trained_on}
    others = [index for index, image in enumerate(held_out.images) if image.tobytes() not in trained_on]
    assert (len(held_out.trained_on), len(others)) == (13, 84)
    images, labels = held_out.images[others], held_out.labels[others]
    error = percent_wrong(held_out.folder / "model.keras", images, labels)
    assert held_out.summary["validation_error"] == pytest.approx(error, abs=1e-3)
    model = keras.saving.load_model(held_out.folder / "model.keras", compile=False)
    likelihoods = model.predict(images.astype("float32"), verbose=0)[np.arange(84), labels]
    loss = -np.log(likelihoods).mean()  # over all images, although the last batch is not full
    assert held_out.summary["validation_loss"] == pytest.approx(loss, rel=1e-3)
    assert held_out.summary["validation_images"] == 84
    assert "test_error" not in held_out.summary
    assert {"validation_error", "validation_loss"} <= small_runs.history(held_out.folder)[0].keys()
    assert "test_error" not in small_runs.history(held_out.folder)[0]


def test_the_test_after_an_epoch_and_the_final_test_have_a_progress_bar(held_out):
    """84 images in batches of 20."""
    calls = held_out.bar.call_args_list
    assert [(call.kwargs["desc"], call.kwargs["total"], call.kwargs["disable"]) for call in calls] == 2 * [
        ("Testing", 5, None)
    ]
    assert held_out.bar.return_value.update.call_count == 2 * 5
    assert held_out.bar.return_value.close.call_count == 2


def test_the_mean_is_that_of_the_training_images(held_out):
    mean = keras.saving.load_model(held_out.folder / "model.keras").get_layer("normalization").mean
    np.testing.assert_allclose(keras.ops.convert_to_numpy(mean)[0], held_out.trained_on.mean(axis=0), rtol=1e-5)


def test_fewer_images_than_a_batch_and_a_single_epoch_are_enough(held_out):
    (row,) = small_runs.history(held_out.folder)
    errors_of_13 = {round(100 * count / 13, 4) for count in range(14)}
    assert float(row["train_error"]) in errors_of_13  # each image was used once
    assert held_out.summary["images_per_second"] == pytest.approx(13 / float(row["seconds"]), abs=0.1)
    assert (held_out.folder / "curves.png").exists()


@pytest.mark.parametrize(("precision", "computes_in"), [("mixed_bfloat16", "bfloat16"), ("mixed_float16", "float16")])
def test_mixed_precision_trains_resumes_exactly_and_answers_in_float32(tmp_path, precision, computes_in):
    recipe = small_runs.small_recipe(precision=precision)
    train(recipe, tmp_path / "run", say=lambda line: None)
    expected = small_runs.results(tmp_path / "run")
    newest = tmp_path / "run" / "checkpoints" / "epoch_0002.keras"
    assert ("LossScaleOptimizer" in small_runs.config(newest)) == (precision == "mixed_float16")

    if precision == "mixed_float16":  # whose loss scaling adds to the state; the second of two checkpoints is restored
        small_runs.damage_weights(newest)
    for name in ("summary.json", "model.keras"):
        (tmp_path / "run" / name).unlink()
    train(recipe, tmp_path / "run", say=lambda line: None)
    assert small_runs.results(tmp_path / "run") == expected

    model = keras.saving.load_model(tmp_path / "run" / "model.keras")
    assert model.get_layer("stage1_unit1_conv1").compute_dtype == computes_in
    assert {keras.backend.standardize_dtype(v.dtype) for v in model.trainable_variables} == {"float32"}
    _, _, images, _ = small_runs.few_digits().read(None)
    probabilities = np.asarray(model.predict(images, verbose=0))
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("logs", [{"loss": float("nan")}, {"loss": 1.0, "val_loss": float("inf")}])
def test_an_epoch_without_a_finite_loss_is_never_saved(logs):
    callback = StopOnDivergence("validation")
    callback.set_model(compiled())
    with pytest.raises(DivergedError, match=r"loss is (nan|inf) at the end of epoch 3"):
        callback.on_epoch_end(2, logs)


def compiled():
    model = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization()])
    model.compile(keras.optimizers.SGD(momentum=0.9), loss="mse")
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.mark.parametrize("infinite", ["moving_variance", "velocity"])
def test_nor_is_an_epoch_with_a_finite_loss_and_an_infinite_variable(infinite):
    """A moving variance of infinity makes every output of its batch norm a finite constant."""
    model = compiled()
    variables = {"moving_variance": model.layers[0].moving_variance, "velocity": model.optimizer.variables[2]}
    callback = StopOnDivergence("test")
    callback.set_model(model)
    callback.on_epoch_end(0, {"loss": 1.0})
    variables[infinite].assign([1.0, float("inf")])
    with pytest.raises(DivergedError, match="not finite at the end of epoch 1"):
        callback.on_epoch_end(0, {"loss": 1.0, "val_loss": 1.0})


def test_a_network_that_does_not_fit_the_data_leaves_no_files(tmp_path):
    with pytest.raises(ValueError, match="at least 32x32"):
        train(recipe_for(dataset="digits", model="resnet18"), tmp_path / "run", say=lambda line: None)
    assert not (tmp_path / "run").exists()


def test_no_callback_makes_keras_wait_for_the_device_after_each_step():
    """On JAX, it does for callbacks that override `on_train_batch_end`."""
    own = LearningRate, StopOnDivergence, RunRecorder, StopAfterEpoch, StepsPerExecution, Profile, Bar
    callbacks = *own, keras.callbacks.SwapEMAWeights
    assert {each.on_train_batch_end for each in callbacks} == {keras.callbacks.Callback.on_train_batch_end}
