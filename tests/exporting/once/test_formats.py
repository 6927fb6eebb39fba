"""The other formats give the network's outputs in their runtimes."""

from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_resnet
from pictures import jpeg, photograph


def exported(file, out, **choices):
    keras_resnet.export(file, out, warm_up=None, **choices)
    return out / "1"


def test_onnxruntime_gives_the_same_outputs(file, expected, tmp_path):
    import onnxruntime

    folder = exported(file, tmp_path / "onnx", format="onnx")
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    ((name, shape),) = [(tensor.name, tensor.shape) for tensor in session.get_inputs()]
    assert (name, shape[1:]) == ("images", [64, 64, 3])
    images, probabilities = expected
    for batch in (1, 12):
        (output,) = session.run(["probabilities"], {"images": images[:batch].astype("float32")})
        np.testing.assert_allclose(output, probabilities[:batch], atol=1e-5)
    assert (folder / "labels.txt").read_text(encoding="utf-8").splitlines()[2] == "Tüte"
    assert "`model.onnx` takes any number of images" in (folder / "README.md").read_text()


def test_onnxruntime_runs_a_network_of_half_precision_in_full_precision(seeded, tmp_path):
    import onnxruntime

    half, full = (keras_resnet.CifarResNet(8, dtype=dtype) for dtype in ("bfloat16", "float32"))
    seeded(half)
    full.set_weights([np.asarray(weight, "float32") for weight in half.get_weights()])
    keras_resnet.export(half, tmp_path / "out", format="onnx")
    session = onnxruntime.InferenceSession(tmp_path / "out/1/model.onnx", providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).uniform(0, 2, (3, 32, 32, 3)).astype("float32")
    (output,) = session.run(["probabilities"], {"images": images})
    np.testing.assert_allclose(output, keras.ops.convert_to_numpy(full(images)), atol=1e-4)


def test_the_command_suppresses_the_output_of_converters(file, tmp_path):
    """In a process of its own, since tf2onnx and TensorFlow warn only once per process."""
    words = [sys.executable, "-m", "keras_resnet", "export", str(file), str(tmp_path / "out"), "--format", "onnx"]
    done = subprocess.run(words, capture_output=True, text=True)
    own_lines = "Folding batch norm into convolutions.\nWriting the format onnx.\n"
    assert (done.returncode, done.stderr) == (0, own_lines)


def test_litert_gives_the_same_outputs(file, expected, tmp_path):
    from ai_edge_litert.interpreter import Interpreter

    folder = exported(file, tmp_path / "litert", format="litert")
    interpreter = Interpreter(str(folder / "model.tflite"))
    images, probabilities = expected
    (input_,), (output,) = interpreter.get_input_details(), interpreter.get_output_details()
    for batch in (1, 12):
        interpreter.resize_tensor_input(input_["index"], [batch, 64, 64, 3])
        interpreter.allocate_tensors()
        interpreter.set_tensor(input_["index"], images[:batch].astype("float32"))
        interpreter.invoke()
        np.testing.assert_allclose(interpreter.get_tensor(output["index"]), probabilities[:batch], atol=1e-5)
    assert interpreter.get_signature_list() == {"serving_default": {"inputs": ["images"], "outputs": ["probabilities"]}}
    by_name = Interpreter(str(folder / "model.tflite")).get_signature_runner()(images=images[:3].astype("float32"))
    np.testing.assert_allclose(by_name["probabilities"], probabilities[:3], atol=1e-5)


@pytest.mark.parametrize("how", ["as a SavedModel", "converted"])
def test_openvino_gives_the_same_outputs(file, expected, tmp_path, how):
    """From the SavedModel and from its own format; in full precision, which is not OpenVINO's default."""
    import openvino

    if how == "converted":
        source = exported(file, tmp_path / "openvino", format="openvino") / "model.xml"
    else:
        source = exported(file, tmp_path / "served", default_signature="images")
    compiled = openvino.Core().compile_model(str(source), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert "images" in compiled.input(0).get_names()
    images, probabilities = expected
    for batch in (1, 12):
        output = compiled(images[:batch].astype("float32"))["probabilities"]
        np.testing.assert_allclose(output, probabilities[:batch], atol=1e-5)


def test_quantisation_costs_little_accuracy_and_the_error_is_reported(tmp_path):
    """For a network trained on digits; OpenVINO's graph shows which layers are quantised."""
    import openvino

    from keras_resnet.data import load
    from keras_resnet.training.recipes import recipe_for
    from keras_resnet.training.run import train

    run = tmp_path / "run"
    recipe = recipe_for(dataset="digits", model="resnet8", network={"shortcut": "B"}, batch_size=32, epochs=4)
    train(recipe, run, say=lambda line: None)
    digits = load("digits")
    np.save(tmp_path / "digits.npy", digits.x_train[:60])
    card = keras_resnet.export(
        run,
        tmp_path / "small",
        format="openvino",
        int8=str(tmp_path / "digits.npy"),
        measure="digits",
    )
    assert card["int8"]["images"] == 60
    errors = card["int8"]["errors"]
    assert errors["int8"] == pytest.approx(errors["float32"], abs=3), errors
    assert errors["float32"] < 30
    core = openvino.Core()
    model = core.read_model(tmp_path / "small" / "1" / "model.xml")
    assert sum(node.get_type_name() == "FakeQuantize" for node in model.get_ops()) > 8
    images = digits.x_test.astype("float32")
    outputs = core.compile_model(model, "CPU")(images)["probabilities"]
    original = keras.saving.load_model(run / "model.keras", compile=False)
    expected = np.asarray(original.predict(images, verbose=0))
    # Single images about which the network is uncertain may change their class; the mean effect of rounding is small.
    assert 0 < np.abs(outputs - expected).mean() < 0.02
    assert (outputs.argmax(1) == expected.argmax(1)).mean() > 0.95
    readme = (tmp_path / "small/1/README.md").read_text()
    assert "int8, calibrated on 60 images; error on digits" in readme and "`model.xml` takes" in readme


def test_images_for_the_quantisation_that_cannot_be_decoded_are_named(tmp_path, monkeypatch):
    import nncf

    monkeypatch.setattr(nncf, "quantize", lambda model, *_, **__: model)
    photos, lines = tmp_path / "photos", []
    photos.mkdir()
    (photos / "good.jpg").write_bytes(jpeg(photograph(0, 40, 50)))
    (photos / "torn.jpg").write_bytes(jpeg(photograph(1, 40, 50))[:20])
    model = keras_resnet.CifarResNet(8, classes=3, width=0.25, shortcut="B")
    keras_resnet.export(model, tmp_path / "out", format="openvino", int8=str(photos), say=lines.append)
    (line,) = [line for line in lines if str(photos / "torn.jpg") in line]
    assert "cannot be decoded" in line


def test_openvino_gives_similar_outputs_in_half_precision(file, expected, tmp_path):
    import openvino

    source = exported(file, tmp_path / "half", format="openvino", dtype="bfloat16") / "model.xml"
    core = openvino.Core()
    model = core.read_model(source)
    (conv, *_) = [node for node in model.get_ops() if node.get_type_name() == "Convolution"]
    assert conv.get_output_element_type(0) == openvino.Type.bf16
    images, probabilities = expected
    output = core.compile_model(model, "CPU")(images.astype("float32"))["probabilities"]
    np.testing.assert_allclose(output, probabilities, atol=0.1)
    assert np.abs(output - probabilities).max() > 1e-5


@pytest.mark.parametrize("name", ["onnx", "litert"])
def test_half_precision_is_refused_for_formats_whose_runtimes_lack_it(file, tmp_path, name):
    """ONNX Runtime cannot open such a file, and LiteRT's converter cannot write one."""
    words = rf"{name} has no convolutions in bfloat16\. Choose float32, or one of saved_model, openvino"
    with pytest.raises(ValueError, match=words):
        keras_resnet.export(file, tmp_path / "out", format=name, dtype="bfloat16")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("classes", "named"), [(3, None), (5, None), (5, ["x", "cat", "y", "ant", "bee"])])
def test_classes_without_names_are_matched_by_index_if_their_number_is_equal(tmp_path, monkeypatch, classes, named):
    """Otherwise the export fails before the quantisation."""
    import nncf

    quantised = []
    monkeypatch.setattr(nncf, "quantize", lambda model, *_, **__: quantised.append(model) or model)
    for number in range(12):
        path = tmp_path / "photos" / ("train", "val")[number % 2] / ("ant", "bee", "cat")[number % 3] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(photograph(number, 40, 50)))
    data = f"folder:{tmp_path / 'photos'}"
    choices = {"format": "openvino", "int8": str(tmp_path / "photos/val/ant"), "measure": data, "class_names": named}
    model = keras_resnet.CifarResNet(8, classes=classes, width=0.25, shortcut="B")
    if classes > 3 and not named:
        with pytest.raises(ValueError, match=r"names none of its 5 classes, and folder:.* has 3"):
            keras_resnet.export(model, tmp_path / "out", **choices)
        assert not quantised
    else:
        assert keras_resnet.export(model, tmp_path / "out", **choices)["int8"]["errors"].keys() == {"float32", "int8"}


@pytest.mark.parametrize(
    "choices",
    [{"int8": "photos"}, {"int8": "photos", "format": "openvino", "dtype": "bfloat16"}, {"measure": "digits"}],
)
def test_options_of_the_quantisation_are_refused_without_it(file, tmp_path, choices):
    words = (
        "`measure` needs `int8`" if "measure" in choices else "`int8` needs `format` 'openvino' and `dtype` 'float32'"
    )
    with pytest.raises(ValueError, match=words):
        keras_resnet.export(file, tmp_path / "out", **choices)


@pytest.mark.parametrize(
    ("name", "package"), [("onnx", "tf2onnx"), ("openvino", "openvino"), ("saved_model", "tensorflow_serving")]
)
def test_a_missing_package_is_named_and_nothing_is_written(file, tmp_path, monkeypatch, name, package):
    (tmp_path / f"{package}.py").write_text("raise ImportError('none')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # for a TensorFlow process
    monkeypatch.setitem(sys.modules, package, None)  # for this process, if it runs on TensorFlow
    with pytest.raises(ValueError, match=rf"needs? {package}: pip install '\.\[export\]'"):
        keras_resnet.export(file, tmp_path / "out", format=name)
    assert [path.name for path in (tmp_path / "out").iterdir()] in ([], [".lock"])
