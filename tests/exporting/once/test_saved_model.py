"""What a version of a SavedModel holds, whatever backend the network is of, and how it comes to be."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

import keras_resnet
from keras_resnet.exporting import export as module
from keras_resnet.exporting.card import _shown as shown


def test_a_file_that_is_no_image_has_no_answer_and_the_others_of_its_batch_do(ask, served, orange, photographs):
    good = photographs[0].read_bytes()
    files = np.array([good, b"no image", good[:5000], orange, good], object)
    answers = ask(served, serving_default__image_bytes=files)
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


def test_what_the_server_tries_is_what_it_answers_where_images_are_asked_for(file, tmp_path):
    """A request that the model does not take has TensorFlow Serving refuse the model."""
    keras_resnet.export(file, tmp_path / "out", asked="images", warm_up=(2,))
    loaded = tf.saved_model.load(str(tmp_path / "out" / "1"))
    asked = []
    for record in tf.data.TFRecordDataset(str(tmp_path / "out/1/assets.extra/tf_serving_warmup_requests")):
        request = PredictionLog.FromString(record.numpy()).predict_log.request
        inputs = {name: tf.constant(tf.make_ndarray(tensor)) for name, tensor in request.inputs.items()}
        assert loaded.signatures[request.model_spec.signature_name](**inputs)["probabilities"].shape == (2, 10)
        asked.append(request.model_spec.signature_name)
    assert asked == ["serving_default", "images"]


def test_the_card_says_what_was_written_and_not_what_was_asked_for(tmp_path):
    """A network within a model stays as it is, and what is frozen in it was learned too."""
    layers = keras.layers
    inside = keras_resnet.CifarResNet(8, include_top=False, pooling="avg", input_shape=(32, 32, 3))
    image = keras.Input((32, 32, 3))
    adapted = layers.BatchNormalization()(layers.Conv2D(3, 1)(image))
    model = keras.Model(image, layers.Dense(3, "softmax")(inside(adapted)))
    learned = sum(np.prod(weight.shape) for weight in model.trainable_weights)
    norms = sum(isinstance(layer, layers.BatchNormalization) for layer in inside.layers)
    inside.trainable = False
    card = keras_resnet.export(model, tmp_path / "out", dtype="bfloat16", warm_up=None)
    assert (card["parameters"], card["dtype"]) == (learned, "bfloat16, float32")
    assert card["batch_norm"] == {"folded": 1, "left": norms}
    written = set(tf.saved_model.load(str(tmp_path / "out/1")).signatures) - {"serving_default"}
    assert written == set(card["signatures"]) == {"image_bytes", "images", "images_uint8"}
    readme = (tmp_path / "out/1/README.md").read_text()
    named = [f"| `{name}` |" for name in card["signatures"]]
    for words in (*named, "| computes in | bfloat16, float32 |", f"1 of {norms + 1} folded into the convolutions"):
        assert words in readme
    assert "| `features` |" not in readme


def test_the_card_says_if_whoever_asks_must_normalise():
    card = {"shape": [64, 64, 3], "view": None, "normalization": None}
    inside = shown({**card, "input": "raw images, 0 to 255"})
    outside = shown({**card, "input": "images normalised as the weights' author did"})
    assert "normalises them itself" in inside and "does not do so itself" in outside


def test_the_next_version_stands_beside_the_last_whole_or_not_at_all(file, served, monkeypatch, tmp_path):
    """Also not when the card, the last that is written, fails; what a killed process left goes."""
    out = tmp_path / "ten"
    (out / "7").mkdir(parents=True)
    (out / ".partial-1-8").mkdir()
    (out / ".partial-1-8" / "saved_model.pb").write_bytes(b"half")
    card = keras_resnet.export(file, out, fold=False, top=20, warm_up=None)
    assert (card["version"], card["top"], card["fold"]) == (8, 10, False)
    assert sorted(path.name for path in out.iterdir()) == [".lock", "7", "8"]
    assert not (out / "8" / "assets.extra").exists()
    if keras.backend.backend() == "tensorflow":  # or it is another process that writes
        monkeypatch.setattr(module, "write_card", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            keras_resnet.export(file, out)
        assert sorted(path.name for path in out.iterdir()) == [".lock", "7", "8"]


def test_half_precision_answers_nearly_the_same(ask, file, expected, tmp_path):
    keras_resnet.export(file, tmp_path / "half", dtype="bfloat16", warm_up=None)
    images, probabilities = expected
    found = ask(tmp_path / "half" / "1", images_uint8__images=images)["images_uint8/probabilities"]
    assert 0 < np.abs(found - probabilities).max() < 0.1
    variables = tmp_path / "half" / "1" / "variables" / "variables.data-00000-of-00001"
    assert variables.stat().st_size < 0.6 * 4 * network_size(file)


def network_size(file):
    return keras.saving.load_model(file, compile=False).count_params()
