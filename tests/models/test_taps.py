"""Stage outputs, logits and dense logits, by name."""

import keras
import numpy as np
import pytest

import keras_resnet
from comparing import call
from keras_resnet.models.chain import chain
from keras_resnet.models.taps import any_size, to_logits
from keras_resnet.preprocessing import normalize


def images(size, count=2):
    return np.random.default_rng(0).random((count, size, size, 3), "float32")


def test_features_returns_every_stage_for_a_pyramid():
    model = keras_resnet.ResNet18(include_top=False, width=0.125)
    features = call(keras_resnet.features(model), images(96))
    assert {name: value.shape[1:] for name, value in features.items()} == {
        "stage1": (24, 24, 8),
        "stage2": (12, 12, 16),
        "stage3": (6, 6, 32),
        "stage4": (3, 3, 64),
    }
    np.testing.assert_allclose(features["stage4"], call(model, images(96)), atol=1e-6)


def test_taps_are_found_again_in_a_saved_model(tmp_path):
    model = keras_resnet.ResNet20V2()
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    assert list(keras_resnet.taps(reloaded)) == [
        "stem", "stage1", "stage2", "stage3", "features", "pooled", "logits",
    ]  # fmt: skip
    wanted = ["stage2", "features"]
    one, other = (call(keras_resnet.features(m, wanted), images(32)) for m in (model, reloaded))
    for name in wanted:
        np.testing.assert_array_equal(one[name], other[name])


def test_the_softmax_of_the_logits_is_the_prediction():
    model = keras_resnet.ResNet20()
    logits = call(keras_resnet.features(model, ["logits"]), images(32))["logits"]
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    np.testing.assert_allclose(call(model, images(32)), exponentials / exponentials.sum(-1, keepdims=True), atol=1e-6)
    without = keras_resnet.ResNet20(classifier_activation=None)
    assert without.output_names == ["logits"]


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_dense_logits_average_to_the_logits(data_format):
    """The dense layer is linear, so the mean of its outputs is its output for the mean (2015, section 3.4)."""
    first = data_format == "channels_first"
    model = keras_resnet.CifarResNet(
        8,
        input_shape=(3, None, None) if first else (None, None, 3),
        data_format=data_format,
        classifier_activation=None,
    )
    batch = images(48)
    batch = batch.transpose(0, 3, 1, 2) if first else batch
    dense = call(keras_resnet.dense_logits(model), batch)
    assert dense.shape == ((2, 10, 12, 12) if first else (2, 12, 12, 10))
    np.testing.assert_allclose(dense.mean(axis=(2, 3) if first else (1, 2)), call(model, batch), atol=1e-5)


def test_dense_logits_have_the_precision_of_the_logits_whatever_the_policy_is_now():
    model = keras_resnet.CifarResNet(8, dtype="float64", data_format="channels_first")
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        assert keras_resnet.dense_logits(model).output.dtype == model.output.dtype == "float64"
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("names", ["stage2", []])
def test_one_name_is_not_taken_for_a_list_of_letters_nor_an_empty_list_for_all_stages(names):
    with pytest.raises(ValueError, match=r"`names` must be a list of one or more of stem, stage1, .* Received: "):
        keras_resnet.features(keras_resnet.CifarResNet(8), names)


def test_sides_and_channels_of_equal_size_are_not_confused():
    """16 channels of 16x16, and images with fewer rows than channels."""
    choices = {"stage_units": (1,), "stage_filters": (16,), "stem": "cifar", "classes": 5}
    model = keras_resnet.ResNet(**choices, input_shape=(3, 16, 16), data_format="channels_first")
    assert keras_resnet.dense_logits(model).output_shape == (None, 5, 16, 16)
    model = keras_resnet.ResNet(**choices, input_shape=(8, None, 10))
    assert any_size(model).input_shape == (None, None, None, 10)


def test_a_dense_form_shares_the_weights():
    model = keras_resnet.CifarResNet(8, input_shape=(None, None, 3))
    dense = keras_resnet.dense_logits(model)
    before = call(dense, images(32))
    model.get_layer("logits").bias.assign(np.ones(10))
    np.testing.assert_allclose(call(dense, images(32)), before + 1, atol=1e-5)


@pytest.mark.parametrize("choices", [{}, {"order": "full_preactivation"}, {"shortcut": None, "downsample": "max_pool"}])
def test_a_chain_of_stem_units_and_head_is_the_network(choices):
    model = keras_resnet.CifarResNet(14, classes=4, **choices)
    parts, x = chain(model), images(32)
    np.testing.assert_allclose(call(parts, x), call(model, x), rtol=1e-5, atol=1e-6)
    shapes = [tuple(feature_map.shape) for feature_map in parts.maps(x)]
    assert shapes == [(2, 32, 32, 16)] * 3 + [(2, 16, 16, 32)] * 2 + [(2, 8, 8, 64)] * 2


def test_a_part_of_a_network_is_not_a_network():
    """It has only some of the layers' names."""
    unit = chain(keras_resnet.CifarResNet(8)).units["stage2_unit1"]
    for take in (chain, keras_resnet.taps, any_size):
        with pytest.raises(ValueError, match="'stage2_unit1' is not a network of keras_resnet"):
            take(unit)


def test_the_message_for_an_unknown_tap_names_it():
    model = keras_resnet.ResNet20(include_top=False)
    with pytest.raises(ValueError, match=r"stage1, stage2, stage3, features. Received: logits"):
        keras_resnet.features(model, ["logits"])
    with pytest.raises(ValueError, match="include_top=True"):
        keras_resnet.dense_logits(model)
    image = keras.Input((4,))
    with pytest.raises(ValueError, match="not a network of keras_resnet"):
        keras_resnet.taps(keras.Model(image, keras.layers.Dense(2)(image), name="other"))


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_network_of_one_size_becomes_one_of_any(seeded, data_format):
    last = data_format == "channels_last"
    shape = (32, 32, 3) if last else (3, 32, 32)
    choices = {"stage_units": (1, 1), "stage_filters": (4, 8), "classes": 5, "data_format": data_format}
    model = seeded(keras_resnet.ResNet(**choices, input_shape=shape))
    free = any_size(model)
    assert free.input_shape == ((None, None, None, 3) if last else (None, 3, None, None))
    image = np.random.default_rng(0).random((1, *shape), "float32")
    np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(network(image)) for network in (free, model)))
    wide = np.concatenate([image, image], axis=2 if last else 3)
    other = keras_resnet.ResNet(**choices, input_shape=free.input_shape[1:])
    other.set_weights(model.get_weights())
    np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(network(wide)) for network in (free, other)))


@pytest.mark.parametrize(
    "look", [keras_resnet.features, keras_resnet.dense_logits, to_logits], ids=lambda look: look.__name__
)
def test_a_network_converted_to_any_size_has_the_outputs_of_one_built_for_it(seeded, look):
    model = seeded(keras_resnet.CifarResNet(8, classes=5))
    other = keras_resnet.CifarResNet(8, classes=5, input_shape=(None, None, 3))
    other.set_weights(model.get_weights())
    outputs, expected = (keras.tree.flatten(call(look(network), images(48))) for network in (any_size(model), other))
    assert len(outputs) == len(expected) > 0
    for one, another in zip(outputs, expected, strict=True):
        np.testing.assert_array_equal(one, another)


def test_a_network_that_was_compiled_with_a_custom_loss_becomes_one_of_any_size():
    model = keras_resnet.CifarResNet(8)
    model.compile("sgd", lambda expected, found: keras.ops.mean(found))
    free = any_size(model)
    assert free.input_shape == (None, None, None, 3) and not free.compiled


def test_a_per_pixel_mean_fits_one_size():
    image = keras.Input((32, 32, 3))
    model = keras_resnet.CifarResNet(8, input_tensor=normalize(image, np.zeros((32, 32, 3))))
    with pytest.raises(ValueError, match=r"per-pixel mean, so it takes only images of \(32, 32, 3\)\."):
        any_size(model)
    image = keras.Input((32, 32, 3))
    assert any_size(keras_resnet.CifarResNet(8, input_tensor=normalize(image, np.zeros(3)))).input_shape[1] is None


def test_a_model_of_another_package_keeps_its_size():
    image = keras.Input((4, 4, 3))
    with pytest.raises(ValueError, match=r"'other' is not a network of keras_resnet, so it takes only .*\(4, 4, 3\)"):
        any_size(keras.Model(image, keras.layers.Conv2D(2, 3)(image), name="other"))
