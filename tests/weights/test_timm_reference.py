"""Networks of version 2 compute what timm's do, from its files; its whole networks are tested in `once`."""

import numpy as np
import pytest
from safetensors.numpy import save_file

import keras_resnet
import references
from comparing import alike, call


@pytest.mark.parametrize("name", ["ResNet18V2", "ResNet50V2"])
@pytest.mark.parametrize("shape", [(40, 48, 3), (41, 35, 3)])
def test_logits_for_seeded_weights_of_timm(shared, tmp_path, name, shape):
    """Its stem's max-pooling pads with minus infinity, which matters since no ReLU comes before it."""
    stages = {"stage_units": (1, 2), "stage_filters": (8, 16)}
    state = references.timm_v2_state(shared, *stages.values(), bottleneck=name == "ResNet50V2", classes=5)
    save_file(state, tmp_path / "a.safetensors")
    bare = {"classes": 5, "input_shape": shape, "classifier_activation": None, "include_preprocessing": False}
    model = getattr(keras_resnet, name)(weights=tmp_path / "a.safetensors", **stages, **bare)
    images = np.random.default_rng(0).standard_normal((2, *shape)).astype("float32")
    alike(call(model, images), references.timm_v2_logits(state, images), 1e-5)
