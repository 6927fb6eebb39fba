"""`keras-resnet predict` and `features`."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest

import small_runs


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


def test_predict_reports_files_of_a_folder_that_cannot_be_decoded(command):
    Path("photos").mkdir()
    cv2.imwrite("photos/digit.png", small_runs.few_digits().read(None)[2][0])
    Path("photos/broken.png").write_bytes(b"no image")
    status, out, err = command(f"predict {small_runs.finished()} photos --top 1")
    assert (status, out.count("\n"), err.count("\n")) == (2, 1, 1)
    assert out.startswith("photos/digit.png: ")
    assert err.startswith("keras-resnet: error: photos/broken.png: cannot be decoded as an image")
    status, out, err = command(f"predict {small_runs.finished()} photos --json")
    broken, digit = json.loads(out)
    assert (status, err.count("\n"), broken.keys(), digit.keys()) == (
        2,
        1,
        {"image", "error"},
        {"image", "classes"},
    )


def test_predict_writes_explanations_as_pictures(command):
    np.save("images.npy", small_runs.few_digits().read(None)[2][:2])
    status, out, err = command(f"predict {small_runs.finished()} images.npy --top 1 --explain why --json")
    assert (status, err) == (0, "")
    assert [row["explanation"] for row in json.loads(out)] == ["why/images.npy[0].png", "why/images.npy[1].png"]
    assert cv2.imread("why/images.npy[1].png").shape[2] == 3


def test_features_are_written_to_a_file(command):
    np.save("images.npy", small_runs.few_digits().read(None)[2][:3])
    status, out, err = command(f"features {small_runs.finished()} images.npy out.npz --taps stage2,pooled")
    assert (status, out, err) == (0, "3 images, 8 of stage2, 8 of pooled: out.npz\n", "")
    assert np.load("out.npz")["pooled"].shape == (3, 8)
    Path("photos").mkdir()
    cv2.imwrite("photos/digit.png", small_runs.few_digits().read(None)[2][0])
    Path("photos/broken.png").write_bytes(b"no image")
    status, out, err = command(f"features {small_runs.finished()} photos out.npy --json")
    assert (status, json.loads(out)["images"], err.count("\n")) == (2, 1, 1)
    assert err.startswith("keras-resnet: error: photos/broken.png: cannot be decoded as an image")
