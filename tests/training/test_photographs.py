"""Runs on photographs, which are read as needed."""

from __future__ import annotations

import json
import logging
import signal

import cv2
import keras
import numpy as np
import pytest

import small_runs
from keras_resnet.cli import main
from keras_resnet.training.recipes import recipe_for
from keras_resnet.training.run import train

CLASSES = ("ant", "bee", "cat")
# All options that affect the views of images, and a batch in parts.
RECIPE = {
    "model": "resnet8",
    "network": small_runs.NETWORK,
    "batch_size": 16,
    "accumulate": 2,
    "epochs": 2,
    "size": 32,
    "first_size": 16,  # in the first epoch
    "test_size": 48,
    "color": "pca",
    "mixup": 0.2,
    "schedule": "plateau",
    "patience": 1,
    "reestimate": True,
}


@pytest.fixture(scope="module")
def ran(album, tmp_path_factory):
    """Folder of an uninterrupted run."""
    out = tmp_path_factory.mktemp("photographs") / "run"
    train(recipe_for("paper2015", dataset=f"folder:{album}", **RECIPE), out, say=lambda line: None)
    return out


def test_the_error_is_that_of_the_centre_crops_of_all_intact_test_photographs(ran, album):
    """Resized to a shorter side of 55 and cropped to 48x48 by OpenCV, with plain Keras: nearly the same pixels."""
    model = keras.saving.load_model(ran / "model.keras", compile=False)
    correct = []
    for path in sorted(album.glob("val/*/*.jpg")):
        if path.read_bytes() == b"no image":
            continue
        image = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        scale = 55 / min(image.shape[:2])
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        top, left = (image.shape[0] - 48) // 2, (image.shape[1] - 48) // 2
        scores = model.predict(image[None, top : top + 48, left : left + 48].astype("float32"), verbose=0)
        correct.append(CLASSES[int(np.argmax(scores))] == path.parent.name)
    summary = json.loads((ran / "summary.json").read_text())
    assert len(correct) == summary["test_images"] == 16
    assert summary["test_error"] == pytest.approx(100 * (1 - np.mean(correct)), abs=1.01 * 100 / 16)
    assert summary["test_error"] * 16 / 100 == pytest.approx(round(summary["test_error"] * 16 / 100), abs=1e-3)
    assert json.loads((ran / "recipe.json").read_text())["scales"] == [37, 69]  # [256, 480], for 32 of 224


def test_both_errors_are_reported_if_the_statistics_are_re_estimated(ran):
    summary = json.loads((ran / "summary.json").read_text())
    assert summary["test_loss"] != summary["test_loss_by_moving_averages"]
    assert summary["test_loss_by_moving_averages"] == float(small_runs.history(ran)[-1]["test_loss"])
    kept, raw = (small_runs.arrays(path) for path in (ran / "model.keras", ran / "checkpoints" / "epoch_0002.keras"))
    weights = [name for name in raw if name.startswith("layers/conv2d")]
    assert weights and all(np.array_equal(kept[name], raw[name]) for name in weights)
    assert any("batch_normalization" in name and not np.array_equal(kept[name], raw[name]) for name in kept)


def test_a_run_stopped_within_an_epoch_and_between_the_parts_of_a_batch_ends_bit_equal(ran, album, tmp_path, signal_in):
    signal_in(1, 3, signal.SIGTERM)
    out = tmp_path / "run"
    command = ["train", "--recipe", str(ran / "recipe.json"), "--out", str(out), "--json"]
    assert main(command) == 75
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["epoch_0000_step_000003.keras"]
    signal_in(0, 0)
    assert main([*command, "--workers", "1"]) == 0
    assert small_runs.results(out) == small_runs.results(ran)


def test_evaluate_and_predict_see_what_the_run_saw(ran, album, capsys, caplog):
    reported = json.loads((ran / "summary.json").read_text())
    capsys.readouterr()
    with caplog.at_level(logging.WARNING, "keras_resnet.data"):
        assert main(["evaluate", str(ran), f"folder:{album}", "--batch-size", "5", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["images"], result["error"]) == (16, pytest.approx(reported["test_error"], abs=1e-3))
    assert "images that cannot be decoded" in caplog.text

    assert main(["predict", str(ran), str(album / "val"), "--top", "1", "--json"]) == 2  # one does not decode
    predictions = json.loads(capsys.readouterr().out)
    wrong = sum(entry["classes"][0]["name"] not in entry["image"] for entry in predictions if "classes" in entry)
    assert wrong == result["wrong"]


def test_a_mean_by_pixel_fits_one_size(album, tmp_path):
    recipe = recipe_for("paper", dataset=f"folder:{album}", **{**RECIPE, "mean": "pixel"})
    with pytest.raises(
        ValueError, match=r"`test_size` must be 32, the size of the mean by pixel. Received: 48. Choose --mean"
    ):
        train(recipe, tmp_path / "run", say=lambda line: None)
    assert not (tmp_path / "run").exists()


def test_accumulation_needs_a_full_batch(album, tmp_path):
    recipe = recipe_for("paper", dataset=f"folder:{album}", **{**RECIPE, "batch_size": 64})
    with pytest.raises(ValueError, match=r"`accumulate` needs at least one full batch of 64 images. Received: 39"):
        train(recipe, tmp_path / "run", say=lambda line: None)
