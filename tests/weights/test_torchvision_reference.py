"""The networks compute what torchvision's compute, from its files, and give its files back."""

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import keras_resnet
import references
from keras_resnet.weights.conversion import convert


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_logits_for_torchvisions_seeded_weights_and_the_weights_back_again(shared, tmp_path, depth):
    """The logits of raw images, which the network normalises itself as torchvision's user does."""
    state = references.state(shared, depth)
    save_file(state, tmp_path / "theirs.safetensors")
    report = convert(tmp_path / "theirs.safetensors", tmp_path / "ours.keras", f"resnet{depth}")
    assert report["tensors"] == sum(not key.endswith("num_batches_tracked") for key in state)
    model = keras.saving.load_model(tmp_path / "ours.keras")
    expected = references.logits(shared, depth)
    assert np.abs(expected).max() > 0.5
    raw = (references.images(shared) * references.DEVIATION + references.MEAN).astype("float32")
    logits = keras_resnet.features(model, ["logits"])(raw)["logits"]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(logits), expected, atol=1e-4)

    convert(tmp_path / "ours.keras", tmp_path / "back.safetensors", to="torchvision")
    back = load_file(tmp_path / "back.safetensors")
    assert back.keys() == state.keys()
    for key, value in state.items():
        assert key.endswith("num_batches_tracked") or np.array_equal(back[key], value), key
