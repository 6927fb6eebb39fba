"""The weights of an independent PyTorch ResNet-20: its published score, and the networks that they fit."""

import keras
import numpy as np
import pytest

import keras_resnet
import references
from keras_resnet import saving
from keras_resnet.weights.conversion import convert
from keras_resnet.weights.pretrained import tensors_of
from keras_resnet.weights.torch_files import read_state, write_state
from keras_resnet.weights.torch_names import to_state

CORRECT = 9173  # of the test set's 10,000 images, as with its author's network


def test_its_score_is_what_its_author_reports(shared, tmp_path):
    convert(shared / "references/akamaster_resnet20.th", tmp_path / "out.keras", "resnet20")
    model, _ = saving.load(tmp_path / "out.keras")  # with the fast layers, in half the time of Keras's
    images, labels = references.cifar10_tested(shared)
    predicted = np.argmax(model.predict(images, batch_size=500, verbose=0), axis=1)
    assert int((predicted == labels).sum()) == CORRECT


@pytest.mark.parametrize("depth", [14, 32])
def test_another_depth_is_refused(shared, depth):
    with pytest.raises(ValueError, match=r"akamaster_resnet20.th' does not fit 'resnet\d+'"):
        keras_resnet.CifarResNet(depth, weights=shared / "references/akamaster_resnet20.th")


def test_a_file_without_a_head_gives_the_same_features(shared, tmp_path):
    path = shared / "references/akamaster_resnet20.th"
    state = {name: value for name, value in read_state(path).items() if "linear" not in name}
    write_state(state, tmp_path / "headless.safetensors")
    image = np.full((1, 32, 32, 3), 99, "float32")
    features, expected = (
        keras.ops.convert_to_numpy(keras_resnet.ResNet20(weights=file, include_top=False, pooling="avg")(image))
        for file in (tmp_path / "headless.safetensors", path)
    )
    np.testing.assert_array_equal(features, expected)


def test_other_classes_get_a_new_head_on_the_same_features(shared):
    path = shared / "references/akamaster_resnet20.th"
    model, whole = keras_resnet.ResNet20(weights=path, classes=37), keras_resnet.ResNet20(weights=path)
    assert model.output_shape == (None, 37)
    image = np.full((1, 32, 32, 3), 99, "float32")
    pooled, expected = (
        keras.ops.convert_to_numpy(keras_resnet.features(network, ["pooled"])(image)["pooled"])
        for network in (model, whole)
    )
    np.testing.assert_array_equal(pooled, expected)


def test_a_network_of_twice_the_width_has_the_logits_of_its_network_in_numpy(tmp_path, seeded):
    """Its first unit pads channels, too, since the stem is not wider."""
    state = to_state(tensors_of(seeded(keras_resnet.ResNet20(width=2))))
    state = {name.replace("fc.", "linear."): value for name, value in state.items()}
    write_state(state, tmp_path / "wide.safetensors")
    images = np.random.default_rng(0).standard_normal((2, 8, 8, 3)).astype("float32")
    bare = {"include_preprocessing": False, "classifier_activation": None, "input_shape": (8, 8, 3)}
    model = keras_resnet.ResNet20(weights=tmp_path / "wide.safetensors", width=2, **bare)
    expected = references.akamaster_logits(state, images)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model(images)), expected, atol=1e-5 * np.abs(expected).max())
