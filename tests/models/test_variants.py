"""Every variant trains, saves and reloads, also in a Keras without this package."""

import json
import os
import subprocess
import sys
from itertools import product

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import keras_resnet
from keras_resnet import Spec, saving
from keras_resnet.models.complexity import count
from keras_resnet.models.rows import DOWNSAMPLES, ORDERS, SKIPS, STEMS, STRIDES_ON, UNITS
from keras_resnet.models.running import quicken

SMALL = {"stage_units": (1, 2), "stage_filters": (4, 8), "classes": 3, "input_shape": (16, 16, 3)}

VARIANTS = {
    **{
        f"{order}-{unit}-{shortcut}": {"order": order, "unit": unit, "shortcut": shortcut}
        for order, unit, shortcut in product(ORDERS, UNITS, ("A", "B", "C", None))
        # The rarer orders with every unit and with every shortcut, but not with every pair of them.
        if order in ("original", "full_preactivation") or unit == "basic" or shortcut == "B"
    },
    **{f"skip-{skip}": {"skip": skip} for skip in SKIPS},
    "skip-constant_scaling-0-1": {"skip": "constant_scaling", "shortcut_scale": 0.0, "residual_scale": 1.0},
    "skip-conv-preactivated": {"skip": "conv", "order": "full_preactivation"},
    "plain-max_pool": {"shortcut": None, "downsample": "max_pool"},
    "imagenet-stem": {"stem": "imagenet", "input_shape": (32, 32, 3)},
    "imagenet-stem-v2": {"stem": "imagenet", "order": "full_preactivation", "input_shape": (32, 32, 3)},
    "stem-unactivated": {"stem": "unactivated", "order": "full_preactivation", "input_shape": (32, 32, 3)},
    "stride-in-the-last-unit": {"downsample": "last_unit", "unit": "bottleneck", "order": "full_preactivation"},
    "stride-on-3x3": {"unit": "bottleneck", "stride_on": "3x3"},
    "wide": {"width": 1.5},
    "zero-init": {"zero_init_residual": True},
    "stochastic-depth": {"stochastic_depth": 0.5},
    "channels-first": {"data_format": "channels_first", "input_shape": (3, 16, 16), "shortcut": "A"},
    "mixed-bfloat16": {"dtype": "mixed_bfloat16"},
    "any-size": {"input_shape": (None, None, 3)},
    "grey-odd-size": {"input_shape": (37, 18, 1), "shortcut": "A"},
}


def build(choices):
    arguments = {"stem": "cifar", **SMALL, **choices}
    return keras_resnet.ResNet(**arguments)


def images_for(model, count=4, seed=0):
    shape = [size or 20 for size in model.input_shape[1:]]
    return np.random.default_rng(seed).random((count, *shape), "float32")


def call(model, images):
    return keras.ops.convert_to_numpy(model(images))


@pytest.mark.parametrize("choices", VARIANTS.values(), ids=VARIANTS)
def test_a_variant_trains_one_step_and_reloads_to_equal_outputs(choices, tmp_path):
    model = build(choices)
    images = images_for(model)
    before = [keras.ops.convert_to_numpy(variable) for variable in model.trainable_variables]
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", run_eagerly=True)
    loss = model.train_on_batch(images, np.array([0, 1, 2, 0]))
    assert np.isfinite(loss)
    after = [keras.ops.convert_to_numpy(variable) for variable in model.trainable_variables]
    moved = sum(not np.array_equal(old, new) for old, new in zip(before, after, strict=True))
    assert moved > len(before) / 2
    assert np.isfinite(np.concatenate([value.ravel() for value in after])).all()
    model.save(tmp_path / "model.keras")
    reloaded, _ = saving.load(tmp_path / "model.keras")
    np.testing.assert_array_equal(call(reloaded, images), call(model, images))
    plain = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(call(plain, images), call(model, images), atol=1e-5)


PLAIN_KERAS = """
import json, sys
sys.modules["keras_resnet"] = None  # import keras_resnet fails
import keras, numpy as np
for path, images, outputs in json.loads(sys.argv[1]):
    result = keras.ops.convert_to_numpy(keras.saving.load_model(path)(np.load(images)))
    np.testing.assert_allclose(result, np.load(outputs), atol=1e-6)
print("all equal")
"""


def test_saved_nets_open_in_a_process_that_cannot_import_this_package(tmp_path):
    chosen = (
        "stem",
        "stride-in",
        "original-basic",
        "full_preactivation-bottleneck-B",
        "skip",
        "plain",
        "channels",
        "imagenet-stem-v2",
    )
    jobs = []
    for name, choices in VARIANTS.items():
        if name.startswith(chosen):
            paths = [str(tmp_path / f"{name}{end}") for end in (".keras", "-images.npy", "-outputs.npy")]
            model = build(choices)
            images = images_for(model)
            model.save(paths[0])
            np.save(paths[1], images)
            np.save(paths[2], call(model, images))
            jobs.append(paths)
    assert len(jobs) >= 14
    done = subprocess.run(
        [sys.executable, "-c", PLAIN_KERAS, json.dumps(jobs)], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout.strip() == "all equal", done.stderr


@st.composite
def specs(draw):
    """Any spec that contradicts itself nowhere, small enough to build at once."""
    stages = draw(st.integers(1, 3))
    shortcut = draw(st.sampled_from(["A", "B", "C", None]))
    stem = draw(st.sampled_from(sorted(STEMS)))
    order = draw(st.sampled_from(sorted(ORDERS) if STEMS[stem].activated else ["full_preactivation"]))
    return {
        "stage_units": draw(st.lists(st.integers(1, 2), min_size=stages, max_size=stages)),
        "stage_filters": draw(st.lists(st.sampled_from([2, 4]), min_size=stages, max_size=stages).map(sorted)),
        "unit": draw(st.sampled_from(sorted(UNITS))),
        "order": order,
        "shortcut": shortcut,
        "skip": draw(st.sampled_from(sorted(SKIPS))) if shortcut in ("A", "B") else "identity",
        "stem": stem,
        "downsample": draw(st.sampled_from(DOWNSAMPLES)),
        "stride_on": draw(st.sampled_from(STRIDES_ON)),
        "width": draw(st.sampled_from([1.0, 2.0])),
        "zero_init_residual": order != "relu_before_addition" and shortcut is not None and draw(st.booleans()),
        "stochastic_depth": 0.0 if shortcut is None else draw(st.sampled_from([0.0, 0.3])),
    }


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(choices=specs(), shape=st.sampled_from([(32, 32, 3), (37, 34, 1)]))
def test_any_spec_builds_as_counted_saves_and_reloads(choices, shape, tmp_path):
    model = keras_resnet.ResNet(**choices, classes=5, input_shape=shape)
    cost = count(Spec(**choices), 5, shape)
    assert model.count_params() == cost.parameters + cost.moving_statistics
    stages = [tuple(t.shape[1:]) for name, t in keras_resnet.taps(model).items() if name.startswith("stage")]
    assert tuple(stages) == cost.output_shapes
    images = images_for(model, count=2)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(call(again, images), call(model, images), atol=1e-5)
    np.testing.assert_array_equal(call(quicken(again), images), call(model, images))


def test_the_channels_may_come_first(seeded):
    last = seeded(keras_resnet.ResNet20(input_shape=(37, 45, 3)))
    first = keras_resnet.ResNet20(input_shape=(3, 37, 45), data_format="channels_first")
    first.set_weights(last.get_weights())
    images = images_for(last)
    np.testing.assert_allclose(call(first, images.transpose(0, 3, 1, 2)), call(last, images), atol=1e-5)


CHANNELS_FIRST = """
import keras, keras_resnet, numpy as np

keras.utils.set_random_seed(1)
last = keras_resnet.CifarResNet(8, classes=3, shortcut="B", width=0.5, input_shape=(17, 21, 3))
first = keras_resnet.CifarResNet(
    8, classes=3, shortcut="B", width=0.5, input_shape=(3, 17, 21), data_format="channels_first"
)
first.set_weights(last.get_weights())
images, labels = np.random.default_rng(0).random((4, 17, 21, 3), "float32"), np.array([0, 1, 2, 0])
for model, given in ((last, images), (first, images.transpose(0, 3, 1, 2))):
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    model.train_on_batch(given, labels)
for one, other in zip(first.get_weights(), last.get_weights(), strict=True):
    np.testing.assert_allclose(one, other, atol=1e-3)  # a ReLU may see a rounded zero on either side
print("equal")
"""


@pytest.mark.parametrize("onednn", ["0", "1"])
def test_channels_that_come_first_learn_the_same_with_and_without_onednn(onednn):
    """TensorFlow is without on processors that have no AVX-512, and then convolves channels last alone."""
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": onednn}
    done = subprocess.run([sys.executable, "-c", CHANNELS_FIRST], capture_output=True, text=True, env=environment)
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
