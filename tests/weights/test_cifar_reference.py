"""The weights of an independent PyTorch ResNet-20 on each backend; its score is tested in `once`."""

import keras

import keras_resnet
import references
from comparing import alike, call
from keras_resnet import saving
from keras_resnet.weights.conversion import convert
from keras_resnet.weights.torch_files import read_state


def test_its_logits_are_those_of_its_network_in_numpy(shared, tmp_path):
    """Its option A pads zeros before and after the other channels, that of this package only after them."""
    theirs = shared / "references/akamaster_resnet20.th"
    report = convert(theirs, tmp_path / "out.keras", "resnet20")
    assert (report["tensors"], report["classes"], report["labels"]) == (97, 10, 10)
    assert report["normalization"] == {"mean": [123.675, 116.28, 103.53], "deviation": [58.395, 57.12, 57.375]}
    assert saving.read_info(tmp_path / "out.keras")["class_names"][0] == "airplane"
    model = keras.saving.load_model(tmp_path / "out.keras")
    images, labels = references.cifar10_tested(shared, 10)
    raw = images.astype("float32")
    expected = references.akamaster_logits(read_state(theirs), (raw - references.MEAN) / references.DEVIATION)
    assert (expected.argmax(axis=1) == labels).mean() > 0.7  # as with the author's own network
    logits = call(keras_resnet.features(model, ["logits"]), raw)["logits"]
    alike(logits, expected, 1e-5)
