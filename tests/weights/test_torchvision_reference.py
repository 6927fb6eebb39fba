"""The networks compute what torchvision's compute: its logits for seeded weights lie in ../shared."""

import importlib.util
import json
import re

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet.weights.assign import assign


def renamed(name):
    """layer2.0.downsample.1.weight -> (stage2_unit1_shortcut_bn, weight)"""
    layer, kind = name.rsplit(".", 1)
    layer = {"conv1": "stem_conv", "bn1": "stem_bn", "fc": "logits"}.get(layer, layer)
    if match := re.fullmatch(r"layer(\d)\.(\d+)\.(.+)", layer):
        place = {"downsample.0": "shortcut_conv", "downsample.1": "shortcut_bn"}.get(match[3], match[3])
        layer = f"stage{match[1]}_unit{int(match[2]) + 1}_{place}"
    return layer, kind


def in_keras(state):
    """A torchvision state dict as arrays a layer, in Keras's layout."""
    weights = {}
    for name, value in state.items():
        layer, kind = renamed(name)
        if kind != "num_batches_tracked":
            axes = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[value.ndim]
            weights.setdefault(layer, {})[kind] = value.transpose(axes)
    order = ("weight", "bias", "running_mean", "running_var")
    return {layer: [values[kind] for kind in order if kind in values] for layer, values in weights.items()}


@pytest.mark.parametrize("depth", [18, 34, 50])
def test_logits_for_torchvisions_seeded_weights(shared, depth):
    references = shared / "references"
    source = importlib.util.spec_from_file_location("seeded_state_dict", references / "seeded_state_dict.py")
    seeded = importlib.util.module_from_spec(source)
    source.loader.exec_module(seeded)
    shapes = json.loads((references / "torchvision" / f"resnet{depth}.shapes.json").read_text())
    model = getattr(keras_resnet, f"ResNet{depth}")(stride_on="3x3", classifier_activation=None)
    assign(model, in_keras(seeded.seeded_state_dict(shapes)), "torchvision")
    logits = keras.ops.convert_to_numpy(model(seeded.seeded_image_batch()))
    expected = np.load(references / "torchvision" / f"resnet{depth}.logits.npy")
    assert np.abs(expected).max() > 0.5
    np.testing.assert_allclose(logits, expected, atol=1e-4)
