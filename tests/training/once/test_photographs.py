"""Photographs that cannot be used, and what a run adopts from weights trained on photographs."""

from __future__ import annotations

import contextlib
import json
import shutil

import keras
import numpy as np
import pytest

from keras_resnet import saving
from keras_resnet.cli import main
from keras_resnet.data import ImageStream, load
from keras_resnet.models.catalog import find
from keras_resnet.preprocessing import normalize
from keras_resnet.training.recipe import Recipe
from keras_resnet.training.recipes import recipe_for
from keras_resnet.training.run import train
from keras_resnet.training.transfer import defaults
from keras_resnet.weights.pretrained import Pretrained


@pytest.mark.parametrize("split", ["train", "val"])
def test_too_many_corrupt_photographs_end_a_run_in_a_line(album, tmp_path, capsys, monkeypatch, split):
    """Up to ten of the 39 and of the 17 may be corrupt."""
    monkeypatch.setattr(ImageStream, "mean", lambda self, kind, size: np.zeros(3))
    shutil.copytree(album, tmp_path / "album")
    for path in sorted((tmp_path / "album" / split).glob("*/*"))[:12]:
        path.write_bytes(b"no image")
    line = f"train folder:{tmp_path / 'album'} --model resnet8 --width 0.25 --shortcut B --size 32 --epochs 1"
    assert main([*line.split(), "--out", str(tmp_path / "run")]) == 2
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith("keras-resnet: error: folder:") and "images cannot be decoded" in last


def test_impossible_views_leave_no_files(album, tmp_path, capsys):
    line = f"train folder:{album} --model resnet8 --size 32 --out {tmp_path / 'run'}".split()
    for mistake, words in (
        (
            "--scales=16,64",
            "`scales` must be the lowest and the highest shorter side, from the size 32 up. Received: (16, 64)",
        ),
        ("--test-resize=16", "`resize` at least `size`. Received: 32 and 16"),
        ("--pad=4", "`pad` does not apply to"),
        ("--data-dir=nowhere --scales=x", "--scales"),
        ("--images-on-device", "`images_on_device` needs a data set in memory. Received: folder:"),
    ):
        with contextlib.suppress(SystemExit):  # raised by argparse
            assert main([*line, *mistake.split()]) == 2
        err = capsys.readouterr().err
        assert (words in err, err.count("\n")) == (True, 1), err
    assert main(["train", f"folder:{album / 'train'}", "--model", "resnet8"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("test_size", "test_resize"), [(None, 36), (32, 36), (64, 73)])
def test_images_are_resized_as_for_the_weights_if_they_are_tested_at_their_size(album, test_size, test_resize):
    """Else by 8/7 of the size, as from 256 to 224 pixels."""
    data, weights = load(f"folder:{album}"), Pretrained("weights", {}, view={"size": 32, "resize": 36})
    recipe = Recipe(dataset=data.name, weights="weights.keras", test_size=test_size)
    assert defaults(recipe, data, weights)["test_resize"] == test_resize


def test_a_single_class_is_refused(album, tmp_path, capsys):
    for split in ("train", "val"):
        shutil.copytree(album / split / "ant", tmp_path / "one" / split / "ant")
    assert main(["train", f"folder:{tmp_path / 'one'}", "--model", "resnet8", "--out", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "`dataset` must have at least two classes. Received: folder:" in line and line.endswith("class is 'ant'")
    assert not (tmp_path / "run").exists()


def test_size_view_and_normalisation_come_with_weights_of_photographs(album, tmp_path, seeded):
    """With torchvision's normalisation; with a rate of zero, the run's network is the original one after it."""
    mean, deviation = 255 * np.array([0.485, 0.456, 0.406]), 255 * np.array([0.229, 0.224, 0.225])
    network, choices, source = find("resnet8"), {"width": 0.25, "shortcut": "B"}, tmp_path / "source.keras"
    bare = seeded(network(input_shape=(32, 32, 3), classes=3, **choices))
    image = keras.Input((None, None, 3))
    with_normalisation = network(input_tensor=normalize(image, mean, deviation), classes=3, **choices)
    for layer in bare.layers:
        if layer.weights:
            with_normalisation.get_layer(layer.name).set_weights(layer.get_weights())
    view = {"size": 32, "resize": 36}
    info = {
        "model": "resnet8",
        "network": network.respec(**choices).to_config(()),
        "view": view,
        "class_names": ["ant", "bee", "cat"],
    }
    saving.save(with_normalisation, source, info)
    no_learning = {"learning_rate": 0.0, "weight_decay": 0.0, "freeze_until": "features", "epochs": 1, "batch_size": 16}
    recipe = recipe_for("paper", dataset=f"folder:{album}", weights=str(source), **no_learning)
    out, lines = tmp_path / "run", []
    train(recipe, out, say=lines.append)
    written = json.loads((out / "recipe.json").read_text())
    assert [written[name] for name in ("size", "test_size", "test_resize", "mean")] == [32, 32, 36, "weights"]
    assert saving.read_info(out)["view"] == view
    raw = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype("float32")
    trained = keras.saving.load_model(out / "model.keras", compile=False)
    expected = bare.predict(((raw - mean) / deviation).astype("float32"), verbose=0)
    np.testing.assert_allclose(trained.predict(raw, verbose=0), expected, rtol=1e-4, atol=1e-6)
    source.unlink()
    train(recipe, out, say=lines.append)
    assert lines[1:] == [f"This run is already finished; its results are in {out}"]
