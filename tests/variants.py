"""Variants of networks, which the tests of models train, save and reload."""

from __future__ import annotations

from itertools import product

import keras
import numpy as np

import keras_resnet
from comparing import QUICKER_EAGERLY, call
from keras_resnet import saving
from keras_resnet.models.rows import ORDERS, SKIPS, UNITS

SMALL = {"stage_units": (1, 2), "stage_filters": (4, 8), "classes": 3, "input_shape": (16, 16, 3)}

VARIANTS = {
    **{
        f"{order}-{unit}-{shortcut}": {"order": order, "unit": unit, "shortcut": shortcut}
        for order, unit, shortcut in product(ORDERS, UNITS, ("A", "B", "C", None))
        # The rarer orders are combined with every unit and every shortcut, but not with every pair of them.
        if order in ("original", "full_preactivation") or unit == "basic" or shortcut == "B"
    },
    **{f"skip-{skip}": {"skip": skip} for skip in SKIPS},
    "skip-constant_scaling-0-1": {"skip": "constant_scaling", "shortcut_scale": 0.0, "residual_scale": 1.0},
    "skip-not-everywhere": {"skip": "exclusive_gating", "shortcut": "A", "skip_everywhere": False},
    "skip-with-padding": {"skip": "exclusive_gating", "shortcut": "A", "order": "full_preactivation"},
    "skip-behind-the-last-unit": {"skip": "shortcut_only_gating", "downsample": "last_unit", "unit": "bottleneck"},
    "skip-conv-preactivated": {"skip": "conv", "order": "full_preactivation"},
    "plain-max_pool": {"shortcut": None, "downsample": "max_pool"},
    "imagenet-stem": {"stem": "imagenet", "input_shape": (32, 32, 3)},
    "imagenet-stem-v2": {"stem": "imagenet", "order": "full_preactivation", "input_shape": (32, 32, 3)},
    "stem-unactivated": {"stem": "unactivated", "order": "full_preactivation", "input_shape": (32, 32, 3)},
    "stem-bare": {"stem": "bare", "order": "full_preactivation", "input_shape": (34, 37, 3)},
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


# A variant for each row of every table: trained on every backend. The other variants are tested on one only.
EVERY_ROW = (
    "original-basic-A",
    "bn_after_addition-basic-C",
    "relu_before_addition-bottleneck-B",
    "relu_only_preactivation-one_layer-B",
    "full_preactivation-one_layer-A",
    "full_preactivation-bottleneck-None",
    *(f"skip-{skip}" for skip in SKIPS if skip != "identity"),
    "plain-max_pool",
    "imagenet-stem-v2",
    "stem-unactivated",
    "stem-bare",
    "stride-in-the-last-unit",
    "stride-on-3x3",
    "zero-init",
    "stochastic-depth",
    "channels-first",
    "mixed-bfloat16",
    "any-size",
)


def build(choices):
    arguments = {"stem": "cifar", **SMALL, **choices}
    return keras_resnet.ResNet(**arguments)


def images_for(model, count=4, seed=0):
    shape = [size or 20 for size in model.input_shape[1:]]
    return np.random.default_rng(seed).random((count, *shape), "float32")


def check_one_step_and_reloading(choices, folder):
    """Checks that a variant trains one step and has equal outputs after reloading, also in plain Keras."""
    model = build(choices)
    images = images_for(model)
    before = [keras.ops.convert_to_numpy(variable) for variable in model.trainable_variables]
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", run_eagerly=QUICKER_EAGERLY)
    loss = model.train_on_batch(images, np.array([0, 1, 2, 0]))
    assert np.isfinite(loss)
    after = [keras.ops.convert_to_numpy(variable) for variable in model.trainable_variables]
    moved = sum(not np.array_equal(old, new) for old, new in zip(before, after, strict=True))
    assert moved > len(before) / 2
    assert np.isfinite(np.concatenate([value.ravel() for value in after])).all()
    model.save(folder / "model.keras")
    reloaded, _ = saving.load(folder / "model.keras")
    np.testing.assert_array_equal(call(reloaded, images), call(model, images))
    plain = keras.saving.load_model(folder / "model.keras")
    rounding = 2**-8 if choices.get("dtype") == "mixed_bfloat16" else 1e-5  # the order of a sum decides the last bit
    np.testing.assert_allclose(call(plain, images), call(model, images), atol=rounding)


def check_that_channels_that_come_first_learn_the_same():
    keras.utils.set_random_seed(1)
    choices = {"classes": 3, "shortcut": "B", "width": 0.5}
    last = keras_resnet.CifarResNet(8, **choices, input_shape=(17, 21, 3))
    first = keras_resnet.CifarResNet(8, **choices, input_shape=(3, 17, 21), data_format="channels_first")
    first.set_weights(last.get_weights())
    images, labels = np.random.default_rng(0).random((4, 17, 21, 3), "float32"), np.array([0, 1, 2, 0])
    for model, given in ((last, images), (first, images.transpose(0, 3, 1, 2))):
        model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
        model.train_on_batch(given, labels)
    for one, other in zip(first.get_weights(), last.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)  # a ReLU may see a rounded zero on either side
