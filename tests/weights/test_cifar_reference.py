"""The weights of an independent PyTorch ResNet-20, as each backend computes with them; its score is in `once`."""

import keras

import keras_resnet
import references
from comparing import alike, call
from keras_resnet import saving
from keras_resnet.data import load
from keras_resnet.weights.conversion import convert
from keras_resnet.weights.torch_files import read_state


def test_its_logits_are_those_of_its_network_written_out_in_numpy(shared, tmp_path):
    """Option A puts its zeros about the other channels there, and behind them here."""
    theirs = shared / "references/akamaster_resnet20.th"
    report = convert(theirs, tmp_path / "out.keras", "resnet20")
    assert (report["tensors"], report["classes"], report["labels"]) == (97, 10, 10)
    assert report["normalization"] == {"mean": [123.675, 116.28, 103.53], "deviation": [58.395, 57.12, 57.375]}
    assert saving.read_info(tmp_path / "out.keras")["class_names"][0] == "airplane"
    model = keras.saving.load_model(tmp_path / "out.keras")
    data = load("cifar10", shared / "data/tfds")
    raw, labels = data.x_test[:10].astype("float32"), data.y_test[:10]
    expected = references.akamaster_logits(read_state(theirs), (raw - references.MEAN) / references.DEVIATION)
    assert (expected.argmax(axis=1) == labels).mean() > 0.7  # of such a network as its author's
    found = call(keras_resnet.features(model, ["logits"]), raw)["logits"]
    alike(found, expected, 1e-5)
