"""Each row of the tables of variants trains, saves and reloads on every backend; more combinations are in `once`."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_resnet
from variants import (
    EVERY_ROW,
    VARIANTS,
    call,
    check_one_step_and_reloading,
    check_that_channels_that_come_first_learn_the_same,
    images_for,
)

TESTS = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", EVERY_ROW)
def test_a_variant_trains_one_step_and_reloads_to_equal_outputs(name, tmp_path):
    check_one_step_and_reloading(VARIANTS[name], tmp_path)


def test_the_channels_may_come_first(seeded):
    last = seeded(keras_resnet.ResNet20(input_shape=(37, 45, 3)))
    first = keras_resnet.ResNet20(input_shape=(3, 37, 45), data_format="channels_first")
    first.set_weights(last.get_weights())
    images = images_for(last)
    np.testing.assert_allclose(call(first, images.transpose(0, 3, 1, 2)), call(last, images), atol=1e-5)


def test_channels_that_come_first_learn_the_same():
    check_that_channels_that_come_first_learn_the_same()


if keras.backend.backend() == "tensorflow":

    def test_channels_that_come_first_learn_the_same_without_onednn():
        """As on processors without AVX-512, where TensorFlow convolves only images with channels last."""
        name = check_that_channels_that_come_first_learn_the_same.__name__
        path = f"{TESTS}{os.pathsep}{TESTS.parent}"
        start = "from keras_resnet import backend; backend.select_backend()"
        done = subprocess.run(
            [sys.executable, "-c", f"{start}; import variants; variants.{name}(); print('equal')"],
            capture_output=True,
            text=True,
            env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0", "PYTHONPATH": path},
        )
        assert done.stdout.strip() == "equal", done.stderr


def test_the_global_data_format_is_kept_in_the_saved_file(tmp_path):
    keras.config.set_image_data_format("channels_first")
    try:
        keras_resnet.CifarResNet(8).save(tmp_path / "model.keras")
    finally:
        keras.config.set_image_data_format("channels_last")
    model = keras.saving.load_model(tmp_path / "model.keras")
    assert model.input_shape == (None, 3, 32, 32)
    assert call(model, np.zeros((1, 3, 32, 32), "float32")).shape == (1, 10)


def test_the_head_keeps_its_precision_under_a_mixed_policy():
    model = keras_resnet.ResNet20(dtype="mixed_bfloat16")
    assert model.get_layer("stage1_unit1_conv1").compute_dtype == "bfloat16"
    assert {model.get_layer(name).compute_dtype for name in ("avg_pool", "logits", "predictions")} == {"float32"}
    assert all(variable.dtype == "float32" for variable in model.trainable_variables)


def test_the_global_dtype_policy_is_the_default():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = keras_resnet.CifarResNet(8)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("stem_conv").compute_dtype == "bfloat16"
    assert model.get_layer("logits").compute_dtype == "float32"


def test_one_seed_one_network():
    networks = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        networks.append(keras_resnet.CifarResNet(8).get_weights())
    first, same, other = networks
    assert all(np.array_equal(a, b) for a, b in zip(first, same, strict=True))
    assert not np.array_equal(first[0], other[0])
