"""Variants train, save and reload, also in a Keras without this package."""

import json
import subprocess

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import keras_resnet
import launch
from keras_resnet import Spec
from keras_resnet.models.complexity import count
from keras_resnet.models.fast_layers import use_fast_layers
from keras_resnet.models.rows import DOWNSAMPLES, ORDERS, SHORTCUTS, SKIPS, STEMS, STRIDES_ON, UNITS
from variants import EVERY_ROW, VARIANTS, build, call, check_one_step_and_reloading, images_for


@pytest.mark.parametrize("name", [name for name in VARIANTS if name not in EVERY_ROW])
def test_a_variant_trains_one_step_and_reloads_to_equal_outputs(name, tmp_path):
    check_one_step_and_reloading(VARIANTS[name], tmp_path)


def test_every_row_is_trained_on_every_backend():
    default = {"order": "original", "unit": "basic", "shortcut": "B", "stem": "cifar", "skip": "identity"}
    default |= {"downsample": "stride", "stride_on": "1x1"}
    chosen = [{**default, **VARIANTS[name]} for name in EVERY_ROW]
    rows = {"order": ORDERS, "unit": UNITS, "shortcut": SHORTCUTS, "stem": STEMS}
    rows |= {"skip": SKIPS, "downsample": DOWNSAMPLES, "stride_on": STRIDES_ON}
    for name, table in rows.items():
        assert {choices[name] for choices in chosen} == set(table), name


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
    command = launch.plain_keras(PLAIN_KERAS, json.dumps(jobs))
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.strip() == "all equal", done.stderr


@st.composite
def specs(draw):
    """Any valid spec that is small enough to build quickly."""
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
        "skip_everywhere": draw(st.booleans()),
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
    np.testing.assert_array_equal(call(use_fast_layers(again), images), call(model, images))
