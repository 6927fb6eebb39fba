"""Loading weights from a file on each backend; errors and metadata are tested in `once`."""

import h5py
import keras
import numpy as np
import pytest

import keras_resnet
import small_runs
from comparing import same
from keras_resnet.models.catalog import find


@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
def test_a_file_gives_its_network_its_weights(tmp_path, ending):
    model = keras_resnet.CifarResNet(8)
    path = tmp_path / f"model{ending}"
    model.save(path) if ending == ".keras" else model.save_weights(path)
    assert same(keras_resnet.CifarResNet(8, weights=path), model)
    assert same(keras_resnet.CifarResNet(8, weights=str(path)), model)


def test_a_weights_file_has_names_and_the_normalisation(tmp_path):
    """The order of its layers is up to Keras: their names are attributes of HDF5."""
    image = keras.Input((32, 32, 3))
    layer = keras_resnet.preprocessing.normalize(image, np.array([100.0, 110.0, 120.0]), np.full(3, 50.0))
    model = keras_resnet.CifarResNet(8, classes=3, input_tensor=layer, dtype="bfloat16")
    model.save_weights(tmp_path / "x.weights.h5")
    again = keras_resnet.CifarResNet(8, classes=3, weights=tmp_path / "x.weights.h5", dtype="bfloat16")
    assert same(again, model)
    fresh = keras_resnet.CifarResNet(8, weights=tmp_path / "x.weights.h5", classes=7)
    tensors_of = keras_resnet.weights.pretrained.tensors_of
    kernels = [tensors_of(network)["stem_conv/kernel"] for network in (fresh, model)]
    np.testing.assert_array_equal(kernels[0], np.float32(kernels[1]))
    with h5py.File(tmp_path / "x.weights.h5", "a") as file:
        del file["layers/conv2d/vars"].attrs["name"]
    with pytest.raises(ValueError, match=r"x.weights.h5' is not .* layers/conv2d/vars is not a layer"):
        keras_resnet.CifarResNet(8, weights=tmp_path / "x.weights.h5")


def test_a_trained_model_brings_its_normalisation(tmp_path):
    image = keras.Input((32, 32, 3))
    layer = keras.layers.Normalization(mean=[100.0, 110.0, 120.0], variance=[50.0**2] * 3)
    model = keras_resnet.CifarResNet(8, input_tensor=layer(image))
    model.save(tmp_path / "trained.keras")
    raw = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    again = keras_resnet.CifarResNet(8, weights=tmp_path / "trained.keras")
    expected, actual = (keras.ops.convert_to_numpy(network(raw)) for network in (model, again))
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)


def test_the_input_shape_is_that_of_the_run_that_trained_the_weights():
    """Grey digits of 8x8 pixels with a per-pixel mean."""
    run, network = small_runs.finished(), find("resnet8")
    plain = keras.models.load_model(run / "model.keras")
    images = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 1)).astype("float32")
    actual, expected = (keras.ops.convert_to_numpy(model(images)) for model in (network(weights=run), plain))
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)
    last = network(weights=run, include_top=False)
    assert (last.input_shape, last.output_shape) == ((None, 8, 8, 1), (None, 4, 4, 8))
    bare = network(weights=run, include_top=False, include_preprocessing=False)
    assert bare.input_shape == (None, None, None, 1)
    bare = network(weights=run, include_top=False, include_preprocessing=False, data_format="channels_first")
    assert bare.input_shape == (None, 1, None, None)
