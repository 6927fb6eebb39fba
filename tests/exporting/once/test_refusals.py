"""What an export refuses, and what its command prints; the same on every backend."""

from __future__ import annotations

import os
import typing

import filelock
import keras
import numpy as np
import pytest
from keras import layers

import keras_resnet
from keras_resnet.cli import main
from keras_resnet.exporting import export as module
from keras_resnet.exporting.choices import Choices, ExportChoices
from keras_resnet.exporting.folding import as_functional, fold, in_dtype


def test_the_command_prints_where_it_wrote_and_uses_the_given_labels(file, tmp_path, capsys):
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"name {number}\n" for number in range(10)))
    words = ["export", str(file), str(tmp_path / "out"), "--labels", str(labels), "--no-fold", "--warm-up", "none"]
    assert main(words) == 0
    assert f"Written to {tmp_path / 'out' / '1'}/; see README.md there.\n" in capsys.readouterr().out
    assert (tmp_path / "out/1/assets/labels.txt").read_text().startswith("name 0\n")
    assert "as it was trained" in (tmp_path / "out/1/README.md").read_text()
    with pytest.raises(ValueError, match=r"A class name must be a single line .*Received: 'name 0\\n'"):
        keras_resnet.export(file, tmp_path / "out", class_names=labels.read_text().splitlines(keepends=True))
    labels.write_text("one\n")
    assert main(words) == 2
    assert capsys.readouterr().err == "keras-resnet: error: 'resnet18' has 10 classes. Received: 1 class names\n"


@pytest.mark.parametrize(
    ("arrange", "message"),
    [
        (lambda out: out.write_text(""), "is a file"),
        (
            lambda out: (out.mkdir(), (out / "notes.txt").write_text("")),
            "must contain only versions of a model. Found: notes.txt",
        ),
    ],
)
def test_a_path_that_cannot_be_the_folder_of_versions_is_refused(file, tmp_path, monkeypatch, arrange, message):
    arrange(tmp_path / "out")
    monkeypatch.setenv("HOME", str(tmp_path))
    for out in (tmp_path / "out", "~/out"):
        with pytest.raises(ValueError, match=message):
            keras_resnet.export(file, out)


def test_a_path_that_tensorflow_does_not_take_is_refused(file, tmp_path, capsys):
    """As of a folder that was named under another locale."""
    out = os.fsdecode(b"Br\xfccke")
    assert main(["export", str(file), str(tmp_path / out)]) == 2
    assert "TensorFlow takes no path that is not UTF-8" in capsys.readouterr().err
    assert not (tmp_path / out).exists()


def test_unsuitable_models_are_refused_and_nothing_is_written(tmp_path, capsys):
    """A missing file, a file of another kind, a model with an unknown layer, one of vectors, one without classes."""

    class Unknown(keras.layers.Layer):
        def call(self, x):
            return x

    (tmp_path / "text.keras").write_text("no model")
    image, vector = keras.Input((8, 8, 3)), keras.Input((8,))
    pooled = keras.layers.GlobalAveragePooling2D()(Unknown()(image))
    keras.Model(image, keras.layers.Dense(4)(pooled)).save(tmp_path / "unknown.keras")
    keras.Model(image, keras.layers.GlobalAveragePooling2D()(image)).save(tmp_path / "features.keras")
    keras.Model(vector, keras.layers.Dense(4)(vector)).save(tmp_path / "vectors.keras")
    for name, words in (
        ("none.keras", "There is no model file"),
        ("text.keras", "is not a valid `.keras` file"),
        ("unknown.keras", "Could not locate class 'Unknown'"),
        ("vectors.keras", "must take images"),
        ("features.keras", "ends in pooling"),
    ):
        assert main(["export", str(tmp_path / name), str(tmp_path / "out")]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("keras-resnet: error: ") and words in line
    assert not (tmp_path / "out").exists()


def test_a_folder_in_use_by_another_export_is_refused(file, tmp_path):
    words = r"Another process exports to .* now\. Wait for it, or choose another folder\.$"  # `export` has no --out
    with filelock.FileLock(tmp_path / ".lock"), pytest.raises(ValueError, match=words):
        keras_resnet.export(file, tmp_path)


def test_a_network_of_four_channels_can_only_be_exported_for_images(ask, tmp_path):
    model = keras_resnet.CifarResNet(8, input_shape=(8, 8, 4), classes=3)
    with pytest.raises(ValueError, match="No image file has the 4 channels"):
        keras_resnet.export(model, tmp_path / "out")
    keras_resnet.export(model, tmp_path / "out", default_signature="images", warm_up=(1,))
    images = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 4)).astype("float32")
    outputs = ask(tmp_path / "out" / "1", images__images=images)["images/probabilities"]
    np.testing.assert_allclose(outputs, keras.ops.convert_to_numpy(model(images)), atol=1e-5)
    readme = (tmp_path / "out" / "1" / "README.md").read_text()
    assert "(batch, 8, 8, 4)" in readme and "image_bytes" not in readme and "decode" not in readme


def test_invalid_options_are_refused(network, tmp_path):
    for choices in (
        {"dtype": "float8"},
        {"format": "pt"},
        {"default_signature": "text"},
        {"top": 0},
        {"warm_up": (0,)},
        {"class_names": ["one"]},
        {"class_names": 10 * ["a\nb"]},
        {"class_names": 10 * ["a\rb"]},
        {"class_names": 9 * ["a"] + [""]},  # TensorFlow's table of labels has no empty lines
        {"data_dir": "sets"},
        {"view": {"size": 64}},
        {"view": {"size": 32, "resize": 40}},
    ):
        with pytest.raises(ValueError, match="Received"):
            keras_resnet.export(network[0], tmp_path / "out", **choices)
    assert not (tmp_path / "out").exists()


def test_a_quantised_model_is_refused():
    image = keras.Input((8,))
    model = keras.Model(image, layers.Dense(4, name="logits")(image), name="small")
    model.quantize("int8")
    with pytest.raises(ValueError, match=r"'small' must not be quantised.* Received: logits and 0 more"):
        as_functional(model)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import os; os.kill(os.getpid(), 9)", "ended by signal 9"),
        ("raise SystemExit(3)", "ended with status 3"),
        ("import sys; sys.exit('half done\\nkeras-resnet: error: there is no room')", "^there is no room$"),
    ],
)
def test_the_failure_of_the_tensorflow_process_is_reported(tmp_path, monkeypatch, program, words):
    """Even if it ends without a message; earlier lines are passed on."""
    (tmp_path / "tensorflow.py").write_text(program)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(image)))
    lines = []
    with pytest.raises(ValueError, match=words):
        module._export_on_tensorflow(model, {}, tmp_path / "out", Choices(), lines.append)
    assert lines == ["Starting a TensorFlow process that writes the graph.", *["half done"][: "half" in program]]


def test_models_that_are_not_functional_are_refused():
    class Own(keras.Model):
        def call(self, x):
            return x

    image = keras.Input((4,))
    for model in (Own(), Own(image, layers.Dense(2)(image))):  # the second has a graph, but computes something else
        for change in (fold, lambda model: in_dtype(model, "float32")):
            with pytest.raises(ValueError, match="must be functional, so that its graph of layers is known"):
                change(model)


def test_editors_and_type_checkers_know_every_option_and_its_type():
    assert typing.get_type_hints(ExportChoices) == typing.get_type_hints(Choices)
