"""keras.applications' weights: results, layout, and the errors that keras.applications raises too."""

import keras
import numpy as np
import pytest

import keras_resnet
import references
from comparing import call
from keras_resnet.weights.keras_applications import from_model


@pytest.mark.parametrize("include_top", [True, False])
@pytest.mark.parametrize("name", ["ResNet50", "ResNet50V2"])
def test_imagenet_weights_compute_the_same_as_in_keras_applications(published, name, include_top):
    references.check_imagenet_weights(published, name, include_top)


@pytest.mark.parametrize("name", ["ResNet50", "ResNet50V2"])
def test_any_epsilon_of_batch_norm_gives_their_outputs(published, name):
    """Theirs is 1.001e-5; the moving variances compensate for the difference."""
    theirs, _ = published(name, include_top=False)
    choices = {"input_shape": (64, 64, 3), "include_preprocessing": False, "bn_epsilon": 0.01}
    ours = getattr(keras_resnet, name)(weights="imagenet", include_top=False, pooling="avg", **choices)
    assert ours.get_layer("stage1_unit1_bn1").epsilon == 0.01
    images = np.random.default_rng(0).standard_normal((2, 64, 64, 3)).astype("float32")
    expected = call(theirs, images).mean(axis=(1, 2))
    np.testing.assert_allclose(call(ours, images), expected, atol=1e-4 * np.abs(expected).max())


def test_the_layout_comes_with_the_weights(published):
    """keras.applications' V2 strides in a stage's last unit and pads zeros before its first max-pooling."""
    published("ResNet50V2", include_top=False)
    model = keras_resnet.ResNet50V2(weights="imagenet", include_top=False)
    assert model.get_layer("stage1_unit3_conv2").strides == (2, 2)
    assert model.get_layer("stage2_unit1_conv2").strides == (1, 1)
    assert model.get_layer("stem_conv").use_bias
    assert "stem_bn" not in [layer.name for layer in model.layers]
    plain = keras_resnet.ResNet50V2(include_top=False)
    assert plain.get_layer("stage1_unit3_conv2").strides == (1, 1)
    assert plain.get_layer("stage2_unit1_conv1").strides == (2, 2)


def test_the_tensors_of_another_network_are_named():
    theirs = keras.applications.ResNet50(weights=None, input_shape=(32, 32, 3), classes=10)
    weights = from_model(theirs, keras_resnet.ResNet50.spec)
    with pytest.raises(
        ValueError, match=r"keras.applications' 'resnet50' does not fit 'resnet18', which has no stage1"
    ):
        keras_resnet.ResNet18(weights=weights, input_shape=(32, 32, 3), classes=10)
    with pytest.raises(ValueError, match=r"it lacks stage2_unit5_conv1/kernel, .* and \d+ more"):
        keras_resnet.ResNet152(weights=weights, input_shape=(32, 32, 3), classes=10)


def test_it_builds_on_a_given_tensor():
    image = keras.Input((64, 64, 3))
    scaled = keras.layers.Rescaling(1 / 255)(image)
    model = keras_resnet.ResNet50(input_tensor=scaled, classes=3)
    assert model.input is image
    assert isinstance(model.layers[1], keras.layers.Rescaling)


@pytest.mark.parametrize(
    "arguments",
    [
        {"weights": None, "input_shape": (31, 64, 3)},
        {"weights": None, "input_shape": (64, 64)},
        {"weights": "imagenet", "include_top": False, "input_shape": (64, 64, 1)},
        {"weights": "no-such-file.weights.h5"},
    ],
)
def test_what_is_an_error_in_keras_applications_is_one_here(arguments):
    for network in (keras.applications.ResNet50, keras_resnet.ResNet50):
        with pytest.raises(ValueError, match=r".") as error:
            network(**arguments)
    value = list(arguments.values())[-1]
    assert str(value) in str(error.value)  # the last error is this package's


def test_pretrained_weights_require_a_softmax_or_none(tmp_path):
    keras_resnet.CifarResNet(8).save_weights(tmp_path / "x.weights.h5")
    with pytest.raises(ValueError, match=r"`classifier_activation` must be None or 'softmax'. Received.*'relu'"):
        keras_resnet.CifarResNet(8, weights=tmp_path / "x.weights.h5", classifier_activation="relu")


@pytest.mark.parametrize(
    ("network", "choices"),
    [("ResNet50", {"shortcut": "A"}), ("ResNet50", {"width": 2.0}), ("ResNet200V2", {})],
)
def test_imagenet_weights_are_refused_for_another_network(network, choices):
    with pytest.raises(
        ValueError, match=f"No ImageNet weights are published for '{network.lower()}' with these choices. They"
    ):
        getattr(keras_resnet, network)(weights="imagenet", **choices)


def test_a_layout_that_contradicts_the_weights_is_refused(published):
    published("ResNet50V2")
    with pytest.raises(ValueError, match="No ImageNet weights are published for 'resnet50v2' with these choices"):
        keras_resnet.ResNet50V2(weights="imagenet", stem="imagenet")


def test_classes_other_than_the_weights_get_a_new_head(published):
    theirs, requests = published("ResNet50", include_top=False)
    model = keras_resnet.ResNet50(weights="imagenet", classes=37)
    assert requests == [{"include_top": False, "weights": "imagenet"}]
    assert model.output_shape == (None, 37)
    ours, expected = (
        keras.ops.convert_to_numpy(network.get_layer(name).kernel)
        for network, name in ((model, "stage4_unit3_conv3"), (theirs, "conv5_block3_3_conv"))
    )
    np.testing.assert_array_equal(ours, expected)


def test_the_preactivation_order_of_a_network_is_its_v2(published):
    published("ResNet50V2", include_top=False)
    model = keras_resnet.ResNet50(weights="imagenet", include_top=False, order="full_preactivation")
    assert "head_bn" in [layer.name for layer in model.layers]


def test_a_failed_download_is_reported_in_one_line(monkeypatch):
    def fail(**_):
        raise Exception("URL fetch failure on https://...: None -- [Errno -2] Name or service not known")

    monkeypatch.setattr(keras.applications, "ResNet50", fail)
    with pytest.raises(ValueError, match="weights of ResNet50 cannot be downloaded: URL fetch failure"):
        keras_resnet.ResNet50(weights="imagenet")
