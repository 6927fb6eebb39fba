"""Deeper networks compute what torchvision's do too, and every depth converts back to torchvision's file."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import references
from keras_resnet.weights.conversion import convert


@pytest.mark.parametrize("depth", [34, 101, 152])
def test_logits_for_torchvisions_seeded_weights_and_the_weights_back_again(shared, tmp_path, depth):
    check_back_again(*references.check_torchvision_logits(shared, tmp_path, depth))


@pytest.mark.parametrize("depth", [18, 50])
def test_torchvisions_weights_back_again(shared, tmp_path, depth):
    state, ours = references.state(shared, depth), tmp_path / "ours.keras"
    save_file(state, tmp_path / "theirs.safetensors")
    convert(tmp_path / "theirs.safetensors", ours, f"resnet{depth}")
    check_back_again(state, ours)


def check_back_again(state, ours):
    convert(ours, ours.with_name("back.safetensors"), to="torchvision")
    back = load_file(ours.with_name("back.safetensors"))
    assert back.keys() == state.keys()
    for key, value in state.items():
        assert key.endswith("num_batches_tracked") or np.array_equal(back[key], value), key
