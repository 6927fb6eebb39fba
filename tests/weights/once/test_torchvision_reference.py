"""Networks of more depths compute what torchvision's do, too, and every depth gives torchvision's tensors back."""

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import references
from keras_resnet.models.catalog import find
from keras_resnet.weights.conversion import convert
from keras_resnet.weights.pretrained import tensors_of
from keras_resnet.weights.torch_names import to_state


def test_logits_for_torchvisions_seeded_weights_and_the_weights_back_again(shared, tmp_path):
    check_back_again(*references.check_torchvision_logits(shared, tmp_path, 34))


@pytest.mark.parametrize("depth", [18, 50])
def test_torchvisions_weights_back_again(shared, tmp_path, depth):
    state, ours = references.state(shared, depth), tmp_path / "ours.keras"
    save_file(state, tmp_path / "theirs.safetensors")
    convert(tmp_path / "theirs.safetensors", ours, f"resnet{depth}")
    check_back_again(state, ours)


def check_back_again(state, ours):
    convert(ours, ours.with_name("back.safetensors"), to="torchvision")
    check_same(load_file(ours.with_name("back.safetensors")), state)


@pytest.mark.parametrize("depth", [101, 152])
def test_logits_of_the_deepest_networks_and_their_weights_back_again(shared, tmp_path, depth):
    """Without files of this package, whose writing and reading takes most of the time."""
    state = references.state(shared, depth)
    save_file(state, tmp_path / "theirs.safetensors")
    choices = {"classifier_activation": None, "include_preprocessing": False}
    model = find(f"resnet{depth}")(weights=tmp_path / "theirs.safetensors", **choices)
    logits = keras.ops.convert_to_numpy(model(references.images(shared)))
    np.testing.assert_allclose(logits, references.logits(shared, depth), atol=1e-4)
    check_same(to_state(tensors_of(model)), state)


def check_same(back, state):
    assert back.keys() == state.keys()
    for key, value in state.items():
        assert key.endswith("num_batches_tracked") or np.array_equal(back[key], value), key
