"""What is exported answers as the network does, in programs that do not know this package."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import filelock
import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

import keras_resnet
from keras_resnet.cli import main
from keras_resnet.exporting import export as module
from keras_resnet.exporting.card import _shown as shown

# A program of its own: a SavedModel, an .npz of what its signatures take, an .npz for what they give.
ASK = """
import sys
import numpy as np, tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
taken, given = np.load(sys.argv[2], allow_pickle=True), {}
for key in taken:
    signature, name = key.split("/")
    given_to_it = taken[key].tolist() if name == "image_bytes" else taken[key]
    for answer, value in model.signatures[signature](**{name: tf.constant(given_to_it)}).items():
        text = value.dtype == tf.string
        given[f"{signature}/{answer}"] = np.char.decode(value.numpy().astype(bytes)) if text else value.numpy()
assert "keras_resnet" not in sys.modules
np.savez(sys.argv[3], **given)
"""


def ask(folder, tmp_path, **taken):
    """What the signatures of a SavedModel answer; names are signature__input."""
    np.savez(tmp_path / "in.npz", **{name.replace("__", "/"): value for name, value in taken.items()})
    words = [sys.executable, "-c", ASK, str(folder), str(tmp_path / "in.npz"), str(tmp_path / "out.npz")]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    return np.load(tmp_path / "out.npz")


def test_every_signature_answers_as_the_network_does(served, network, photographs, expected, tmp_path):
    """To 1e-5, on real photographs, for a network of every backend; and names the most probable classes."""
    images, probabilities = expected
    files = np.array([path.read_bytes() for path in photographs], object)
    answers = ask(
        served,
        tmp_path,
        serving_default__image_bytes=files,
        image_bytes__image_bytes=files,
        images__images=images.astype("float32"),
        images_uint8__images=images,
        features__images=images[:3].astype("float32"),
    )
    for signature in ("serving_default", "image_bytes", "images", "images_uint8"):
        np.testing.assert_allclose(answers[f"{signature}/probabilities"], probabilities, atol=1e-5)
        order = np.argsort(-probabilities, axis=1)[:, :5]
        np.testing.assert_allclose(
            answers[f"{signature}/scores"], np.take_along_axis(probabilities, order, 1), atol=1e-5
        )
        assert answers[f"{signature}/classes"].tolist() == np.array(network[1]["class_names"])[order].tolist()
    assert answers["serving_default/valid"].all()
    pooled = keras_resnet.features(network[0], ["pooled"])(images[:3].astype("float32"))["pooled"]
    np.testing.assert_allclose(answers["features/features"], keras.ops.convert_to_numpy(pooled), rtol=1e-4, atol=1e-4)


def test_a_file_that_is_no_image_has_no_answer_and_the_others_of_its_batch_do(served, orange, photographs, tmp_path):
    good = photographs[0].read_bytes()
    files = np.array([good, b"no image", good[:5000], orange, good], object)
    answers = ask(served, tmp_path, serving_default__image_bytes=files)
    assert answers["serving_default/valid"].tolist() == [True, False, False, True, True]
    assert not answers["serving_default/probabilities"][1:3].any() and not answers["serving_default/scores"][1:3].any()
    assert answers["serving_default/classes"][1:3].tolist() == 2 * [5 * [""]]
    np.testing.assert_allclose(answers["serving_default/probabilities"].sum(axis=1), [1, 0, 0, 1, 1], atol=1e-5)
    assert np.array_equal(answers["serving_default/scores"][0], answers["serving_default/scores"][4])


def test_the_c_api_loads_it_and_answers_the_same(served, photographs, expected, tmp_path):
    """As TensorFlow Serving does: no Python, the tag "serve", the tensors that the signature names."""
    package = Path(tf.__file__).parent
    program = tmp_path / "c_api"
    libraries = [str(package / f"libtensorflow_{name}.so.2") for name in ("cc", "framework")]
    source = Path(__file__).with_name("c_api.c")
    words = ["gcc", str(source), "-o", str(program), f"-I{package / 'include'}", *libraries, f"-Wl,-rpath,{package}"]
    built = subprocess.run(words, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (graph,) = SavedModel.FromString((served / "saved_model.pb").read_bytes()).meta_graphs

    def run(signature, name, *arguments, given):
        found = graph.signature_def[signature]
        tensors = found.inputs[name].name, found.outputs["probabilities"].name
        done = subprocess.run([program, served, *tensors, *arguments], input=given, capture_output=True)
        assert done.returncode == 0, done.stderr[-2000:]
        return np.frombuffer(done.stdout, "float32").reshape(-1, 10)

    images, probabilities = expected
    found = run("images", "images", "12", "0", "64", "64", "3", given=images.astype("float32").tobytes())
    np.testing.assert_allclose(found, probabilities, atol=1e-5)
    found = run("serving_default", "image_bytes", "2", "1", given=photographs[0].read_bytes())
    np.testing.assert_allclose(found, probabilities[[0, 0]], atol=1e-5)


def test_saved_model_cli_knows_its_signatures(served):
    program = Path(sysconfig.get_path("scripts")) / "saved_model_cli"
    told = subprocess.run([program, "show", "--dir", served, "--all"], capture_output=True, text=True).stdout
    for words in (
        "signature_def['serving_default']",
        "inputs['image_bytes']",
        "outputs['valid']",
        "shape: (-1, 64, 64, 3)",
    ):
        assert words in told
    assert b"XlaCallModule" not in (served / "saved_model.pb").read_bytes()  # Keras's own export has one on JAX


def test_warm_up_requests_are_those_that_the_server_reads(served):
    """By tensorflow-serving-api's own messages: of each batch size one of files and one of images."""
    records = tf.data.TFRecordDataset(str(served / "assets.extra" / "tf_serving_warmup_requests"))
    seen = []
    for record in records:
        request = PredictionLog.FromString(record.numpy()).predict_log.request
        ((name, tensor),) = request.inputs.items()
        array = tf.make_ndarray(tensor)
        seen.append((request.model_spec.signature_name, name, array.shape))
        if name == "image_bytes":
            assert tf.io.decode_image(array[0]).shape == (64, 64, 3)
    images = [("images", "images", (n, 64, 64, 3)) for n in (1, 2)]
    assert seen[::2] == [("serving_default", "image_bytes", (n,)) for n in (1, 2)] and seen[1::2] == images


def test_the_card_says_what_is_served_and_its_checksums_hold(served):
    card = json.loads((served / "model_card.json").read_text())
    known = {"network": "resnet18", "classes": 10, "test_error": 12.5, "dataset": "ten", "fold": True, "top": 5}
    assert known.items() <= card.items()
    sums = "".join(f"{digest}  {name}\n" for name, digest in card["files"].items())
    done = subprocess.run(["sha256sum", "--check", "--strict"], input=sums, cwd=served, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert {"saved_model.pb", "assets/labels.txt", "variables/variables.index"} <= set(card["files"])
    readme = (served / "README.md").read_text()
    for words in ("resized to 73 pixels, and the centre of 64x64 is cut", "12.50 %", "float32 (batch, 64, 64, 3)"):
        assert words in readme
    assert (served / "assets" / "labels.txt").read_text(encoding="utf-8").splitlines()[2] == "Tüte"


def test_the_card_says_if_whoever_asks_must_normalise():
    card = {"shape": [64, 64, 3], "view": None, "normalization": None}
    inside = shown({**card, "input": "raw images, 0 to 255"})
    outside = shown({**card, "input": "images normalised as the weights' author did"})
    assert "normalises them itself" in inside and "does not do so itself" in outside


def test_the_next_version_stands_beside_the_last_whole_or_not_at_all(file, served, monkeypatch, tmp_path):
    """Also not when warm-up requests, the last but one that is written, fail; what a killed process left goes."""
    out = tmp_path / "ten"
    (out / "7").mkdir(parents=True)
    (out / ".partial-1-8").mkdir()
    (out / ".partial-1-8" / "saved_model.pb").write_bytes(b"half")
    card = keras_resnet.export(file, out, fold=False, top=20, warm_up=None)
    assert (card["version"], card["top"], card["fold"]) == (8, 10, False)
    assert sorted(path.name for path in out.iterdir()) == [".lock", "7", "8"]
    assert not (out / "8" / "assets.extra").exists()
    if keras.backend.backend() == "tensorflow":
        monkeypatch.setattr(module, "write_card", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            keras_resnet.export(file, out)
        assert sorted(path.name for path in out.iterdir()) == [".lock", "7", "8"]


def test_the_command_says_where_it_wrote_and_what(file, tmp_path, capsys):
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"name {number}\n" for number in range(10)))
    words = ["export", str(file), str(tmp_path / "out"), "--labels", str(labels), "--no-fold", "--warm-up", "none"]
    assert main(words) == 0
    assert f"Look at {tmp_path / 'out' / '1'}/README.md" in capsys.readouterr().out
    assert (tmp_path / "out/1/assets/labels.txt").read_text().startswith("name 0\n")
    assert "as it was trained" in (tmp_path / "out/1/README.md").read_text()
    labels.write_text("one\n")
    assert main(words) == 2
    assert capsys.readouterr().err == "keras-resnet: error: 'resnet18' has 10 classes. Received: 1 class names\n"


def test_a_model_in_memory_is_exported_with_what_is_said_of_it(network, tmp_path):
    names = [f"class {number}" for number in range(10)]
    card = keras_resnet.export(
        network[0], tmp_path / "own", class_names=names, view={"size": 64, "resize": 64}, warm_up=None
    )
    assert (card["network"], card["view"]) == (network[0].name, {"size": 64, "resize": 64})
    assert (tmp_path / "own" / "1" / "assets" / "labels.txt").read_text().splitlines() == names


def test_half_precision_answers_nearly_the_same(file, expected, tmp_path):
    keras_resnet.export(file, tmp_path / "half", dtype="bfloat16", warm_up=None)
    images, probabilities = expected
    found = ask(tmp_path / "half" / "1", tmp_path, images_uint8__images=images)["images_uint8/probabilities"]
    assert 0 < np.abs(found - probabilities).max() < 0.1
    variables = tmp_path / "half" / "1" / "variables" / "variables.data-00000-of-00001"
    assert variables.stat().st_size < 0.6 * 4 * network_size(file)


def network_size(file):
    return keras.saving.load_model(file, compile=False).count_params()


@pytest.mark.parametrize(
    ("arrange", "message"),
    [
        (lambda out: out.write_text(""), "is a file"),
        (
            lambda out: (out.mkdir(), (out / "notes.txt").write_text("")),
            "something else than versions of a model: notes.txt",
        ),
    ],
)
def test_a_folder_that_is_none_of_versions_is_refused(file, tmp_path, arrange, message):
    arrange(tmp_path / "out")
    with pytest.raises(ValueError, match=message):
        keras_resnet.export(file, tmp_path / "out")


def test_what_is_no_model_is_refused_and_nothing_is_written(tmp_path, capsys):
    """No file, one of another kind, one with a layer that is not there, and one that takes no images."""

    class Unknown(keras.layers.Layer):
        def call(self, x):
            return x

    (tmp_path / "text.keras").write_text("no model")
    image, vector = keras.Input((8, 8, 3)), keras.Input((8,))
    pooled = keras.layers.GlobalAveragePooling2D()(Unknown()(image))
    keras.Model(image, keras.layers.Dense(4)(pooled)).save(tmp_path / "unknown.keras")
    keras.Model(vector, keras.layers.Dense(4)(vector)).save(tmp_path / "vectors.keras")
    for name, words in (
        ("none.keras", "There is no model file"),
        ("text.keras", "is no whole `.keras` file"),
        ("unknown.keras", "Could not locate class 'Unknown'"),
        ("vectors.keras", "must take images"),
    ):
        assert main(["export", str(tmp_path / name), str(tmp_path / "out")]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("keras-resnet: error: ") and words in line
    assert not (tmp_path / "out").exists()


def test_a_folder_that_another_process_exports_to_is_refused(file, tmp_path):
    with filelock.FileLock(tmp_path / ".lock"), pytest.raises(ValueError, match="Another process exports"):
        keras_resnet.export(file, tmp_path)


def test_choices_that_make_no_sense_are_refused(network, tmp_path):
    for choices in (
        {"dtype": "float8"},
        {"format": "pt"},
        {"asked": "text"},
        {"top": 0},
        {"warm_up": (0,)},
        {"class_names": ["one"]},
        {"class_names": 10 * ["a\nb"]},
    ):
        with pytest.raises(ValueError, match="Received"):
            keras_resnet.export(network[0], tmp_path / "out", **choices)
    assert not (tmp_path / "out").exists()
