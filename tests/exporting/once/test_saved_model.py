"""Content of an exported SavedModel, its card and its versions, for networks of every backend."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import yaml
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

import keras_resnet
from keras_resnet.exporting import export as module
from keras_resnet.exporting.card import _preprocessing as preprocessing

ROOT = Path(__file__).resolve().parents[3]


def test_a_file_that_is_not_an_image_does_not_affect_the_others_of_its_batch(ask, served, orange, photographs):
    good = photographs[0].read_bytes()
    files = np.array([good, b"no image", good[:5000], orange, good], object)
    outputs = ask(served, serving_default__image_bytes=files)
    assert outputs["serving_default/valid"].tolist() == [True, False, False, True, True]
    assert not outputs["serving_default/probabilities"][1:3].any() and not outputs["serving_default/scores"][1:3].any()
    assert outputs["serving_default/classes"][1:3].tolist() == 2 * [5 * [""]]
    np.testing.assert_allclose(outputs["serving_default/probabilities"].sum(axis=1), [1, 0, 0, 1, 1], atol=1e-5)
    assert np.array_equal(outputs["serving_default/scores"][0], outputs["serving_default/scores"][4])


def test_the_c_api_gives_the_same_outputs(served, photographs, expected, tmp_path):
    """As in TensorFlow Serving: no Python, the tag "serve", the tensors named by the signature, its environment."""
    compose = yaml.safe_load((ROOT / "examples/serving/docker-compose.yaml").read_text())
    environment = {**os.environ, **compose["services"]["serving"]["environment"]}
    assert environment["TF_ONEDNN_ASSUME_FROZEN_WEIGHTS"] == "1"
    package = Path(tf.__file__).parent
    program = tmp_path / "c_api"
    libraries = [str(package / f"libtensorflow_{name}.so.2") for name in ("cc", "framework")]
    source = Path(__file__).with_name("c_api.c")
    words = ["gcc", str(source), "-o", str(program), f"-I{package / 'include'}", *libraries, f"-Wl,-rpath,{package}"]
    built = subprocess.run(words, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (graph,) = SavedModel.FromString((served / "saved_model.pb").read_bytes()).meta_graphs

    def run(signature, name, *arguments, data):
        definition = graph.signature_def[signature]
        tensors = definition.inputs[name].name, definition.outputs["probabilities"].name
        words = [program, served, *tensors, *arguments]
        done = subprocess.run(words, input=data, capture_output=True, env=environment)
        assert done.returncode == 0, done.stderr[-2000:]
        return np.frombuffer(done.stdout, "float32").reshape(-1, 10)

    images, probabilities = expected
    outputs = run("images", "images", "12", "0", "64", "64", "3", data=images.astype("float32").tobytes())
    np.testing.assert_allclose(outputs, probabilities, atol=1e-5)
    outputs = run("serving_default", "image_bytes", "2", "1", data=photographs[0].read_bytes())
    np.testing.assert_allclose(outputs, probabilities[[0, 0]], atol=1e-5)


def test_saved_model_cli_lists_the_signatures(served):
    program = Path(sysconfig.get_path("scripts")) / "saved_model_cli"
    listing = subprocess.run([program, "show", "--dir", served, "--all"], capture_output=True, text=True).stdout
    for words in (
        "signature_def['serving_default']",
        "inputs['image_bytes']",
        "outputs['valid']",
        "shape: (-1, 64, 64, 3)",
    ):
        assert words in listing


def test_warm_up_requests_are_in_the_format_of_the_server(served):
    """In the messages of tensorflow-serving-api: for each batch size one request of files and one of images."""
    records = tf.data.TFRecordDataset(str(served / "assets.extra" / "tf_serving_warmup_requests"))
    requests = []
    for record in records:
        request = PredictionLog.FromString(record.numpy()).predict_log.request
        ((name, tensor),) = request.inputs.items()
        array = tf.make_ndarray(tensor)
        requests.append((request.model_spec.signature_name, name, array.shape))
        if name == "image_bytes":
            assert tf.io.decode_image(array[0]).shape == (64, 64, 3)
    images = [("images", "images", (n, 64, 64, 3)) for n in (1, 2)]
    assert requests[::2] == [("serving_default", "image_bytes", (n,)) for n in (1, 2)] and requests[1::2] == images


def test_warm_up_requests_fit_the_signatures_if_the_default_takes_images(file, tmp_path):
    """TensorFlow Serving would refuse a model that does not accept a warm-up request."""
    keras_resnet.export(file, tmp_path / "out", default_signature="images", warm_up=(2,))
    loaded = tf.saved_model.load(str(tmp_path / "out" / "1"))
    signatures = []
    for record in tf.data.TFRecordDataset(str(tmp_path / "out/1/assets.extra/tf_serving_warmup_requests")):
        request = PredictionLog.FromString(record.numpy()).predict_log.request
        inputs = {name: tf.constant(tf.make_ndarray(tensor)) for name, tensor in request.inputs.items()}
        assert loaded.signatures[request.model_spec.signature_name](**inputs)["probabilities"].shape == (2, 10)
        signatures.append(request.model_spec.signature_name)
    assert signatures == ["serving_default", "images"]


def test_the_card_describes_what_was_written_and_not_what_was_requested(tmp_path):
    """A network nested in a model remains unchanged, and its frozen parameters count too."""
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


def test_the_card_says_if_the_caller_must_normalise():
    card = {"shape": [64, 64, 3], "view": None, "normalization": None}
    inside = preprocessing({**card, "input": "raw images, 0 to 255"})
    outside = preprocessing({**card, "input": "images normalised as the weights' author did"})
    assert "normalises them itself" in inside and "does not normalise them itself" in outside


def test_the_next_version_is_written_completely_or_not_at_all(file, served, monkeypatch, tmp_path):
    """Even if the card fails, which is written last; the remains of a killed process are removed."""
    out = tmp_path / "ten"
    (out / "7").mkdir(parents=True)
    (out / ".partial-1-8").mkdir()
    (out / ".partial-1-8" / "saved_model.pb").write_bytes(b"half")
    card = keras_resnet.export(file, out, fold=False, top=20, warm_up=None)
    assert (card["version"], card["top"], card["fold"]) == (8, 10, False)
    assert sorted(path.name for path in out.iterdir()) == [".lock", "7", "8"]
    assert not (out / "8" / "assets.extra").exists()
    if keras.backend.backend() == "tensorflow":  # on the others, a separate process writes
        monkeypatch.setattr(module, "write_card", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            keras_resnet.export(file, out)
        assert sorted(path.name for path in out.iterdir()) == [".lock", "7", "8"]


def test_half_precision_gives_similar_outputs(ask, file, expected, tmp_path):
    keras_resnet.export(file, tmp_path / "half", dtype="bfloat16", warm_up=None)
    images, probabilities = expected
    outputs = ask(tmp_path / "half" / "1", images_uint8__images=images)["images_uint8/probabilities"]
    assert 0 < np.abs(outputs - probabilities).max() < 0.1
    variables = tmp_path / "half" / "1" / "variables" / "variables.data-00000-of-00001"
    assert variables.stat().st_size < 0.6 * 4 * network_size(file)


def test_bias_addition_and_relu_are_computed_with_the_convolution(tmp_path):
    """By oneDNN, in units without strides."""
    model = keras_resnet.ResNet((3,), (16,), unit="bottleneck", stem="cifar", classes=4, input_shape=(8, 8, 3))
    keras_resnet.export(model, tmp_path / "out", default_signature="images", warm_up=None)
    options, metadata = tf.compat.v1.RunOptions(output_partition_graphs=True), tf.compat.v1.RunMetadata()
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(tmp_path / "out/1"))
        signature = loaded.signature_def["serving_default"]
        images = {signature.inputs["images"].name: np.zeros((2, 8, 8, 3), "float32")}
        session.run(signature.outputs["probabilities"].name, images, options, metadata)
    kernels = [node for graph in metadata.partition_graphs for node in graph.node]
    fused = [list(node.attr["fused_ops"].list.s) for node in kernels if "Conv2D" in node.op]
    assert fused.count([b"BiasAdd", b"Add", b"Relu"]) == 3
    assert fused.count([b"BiasAdd", b"Relu"]) == 7 and fused.count([b"BiasAdd"]) == 1  # the rest, and the projection
    assert not [node.op for node in kernels if node.op in ("AddV2", "Relu")]


def network_size(file):
    return keras.saving.load_model(file, compile=False).count_params()


def test_a_model_that_returns_its_only_output_in_a_dict_is_exported(tmp_path):
    network = keras_resnet.ResNet((1,), (4,), stem="cifar", classes=3, input_shape=(8, 8, 3))
    keras_resnet.export(keras.Model(network.input, {"classes": network.output}), tmp_path, warm_up=())
    images = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3)).astype("float32")
    outputs = tf.saved_model.load(str(tmp_path / "1")).signatures["images"](images=tf.constant(images))
    expected = keras.ops.convert_to_numpy(network(images))
    np.testing.assert_allclose(outputs["probabilities"].numpy(), expected, rtol=1e-4, atol=1e-6)
