"""A network that is cut into its units learns what it learns whole."""

from __future__ import annotations

import signal

import keras
import numpy as np
import pytest

import keras_resnet
import small_runs
from keras_resnet.training.interruption import StoppedError
from keras_resnet.training.machine import Machine
from keras_resnet.training.run import train
from keras_resnet.training.units import Units, in_units

NETWORKS = {
    "original": {},
    "version 2": {"order": "full_preactivation"},
    "projections": {"shortcut": "C", "order": "bn_after_addition"},
    "max-pooling": {"shortcut": None, "downsample": "max_pool"},
    "bottleneck": {"unit": "bottleneck", "skip": "exclusive_gating"},
    "masks": {"skip": "dropout", "skip_dropout": 0.5, "stochastic_depth": 0.5},
    "half precision": {"dtype": "mixed_bfloat16"},
}


WAYS = ({"rematerialize": True, "loop": True}, {"rematerialize": True}, {"loop": True})
EACH_ALONE = ("original", "masks", "half precision")


@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_changes_every_variable_as_it_would_without(seeded, name):
    """Weights, and the moving averages of batch norm, which a step that ran twice would move twice."""
    choices = {"stem": "cifar", **NETWORKS[name]}
    images = np.random.default_rng(0).standard_normal((8, 16, 16, 3)).astype("float32")
    labels = np.eye(4, dtype="float32")[np.arange(8) % 4]

    def after_a_step(**ways):
        keras.utils.set_random_seed(0)  # masks are drawn alike
        model = seeded(keras_resnet.ResNet((3, 1), (4, 8), classes=4, input_shape=(16, 16, 3), **choices))
        trained = in_units(model, **ways) if ways else model
        trained.compile(keras.optimizers.SGD(0.1), "categorical_crossentropy")
        loss = trained.train_on_batch(images, labels)
        return {"loss": loss, **{variable.path: np.array(variable) for variable in model.weights}}

    whole = after_a_step()
    tolerance = {"rtol": 0.05, "atol": 0.01} if "dtype" in choices else {"rtol": 1e-4, "atol": 1e-5}
    for ways in WAYS if name in EACH_ALONE else WAYS[:1]:
        found = after_a_step(**ways)
        for variable, value in whole.items():
            np.testing.assert_allclose(found[variable], value, **tolerance, err_msg=f"{ways}: {variable}")


@pytest.mark.parametrize(
    ("choices", "loops"),
    [
        ({}, ["1_unit1 to 1_unit3", "2_unit1", "2_unit2 to 2_unit3", "3_unit1", "3_unit2 to 3_unit3"]),
        ({"shortcut": "C", "order": "full_preactivation"}, ["1_unit1", "1_unit2 to 1_unit3", "2_unit1"]),
        ({"stochastic_depth": 0.5}, ["1_unit1", "1_unit2", "1_unit3"]),  # each with a share of its own
    ],
    ids=str,
)
def test_units_that_are_alike_are_one_loop(choices, loops):
    model = in_units(keras_resnet.ResNet20(**choices), loop=True)
    found = [
        " to ".join(dict.fromkeys(unit.name.removeprefix("stage") for unit in (layer.units[0], layer.units[-1])))
        for layer in model.layers
        if isinstance(layer, Units)
    ]
    assert found[: len(loops)] == loops


def test_a_run_may_begin_whole_and_go_on_in_units(tmp_path, signal_in):
    """That is no part of the recipe; the same files come out, of stock layers."""
    choices = {**small_runs.STATEFUL, "epochs": 2}
    choices["network"] = {"skip": "identity", "skip_dropout": None, "stochastic_depth": 0.0}  # no masks to draw twice
    recipe = small_runs.small_recipe(**choices)
    train(recipe, tmp_path / "without", say=lambda line: None)

    signal_in(1, 2, signal.SIGTERM)
    with pytest.raises(StoppedError):
        train(recipe, tmp_path / "with", say=lambda line: None)
    signal_in(0, 0)
    train(recipe, tmp_path / "with", say=lambda line: None, machine=Machine(rematerialize=True, loop_units=True))

    found, expected = (small_runs.results(tmp_path / name) for name in ("with", "without"))
    assert found["recipe"] == expected["recipe"]
    for row, other in zip(found["history"], expected["history"], strict=True):
        assert float(row["train_loss"]) == pytest.approx(float(other["train_loss"]), rel=1e-4)
        assert float(row["test_loss"]) == pytest.approx(float(other["test_loss"]), rel=1e-3)
    arrays = [small_runs.arrays(tmp_path / name / "model.keras") for name in ("with", "without")]
    assert arrays[0].keys() == arrays[1].keys()
    for name, value in arrays[1].items():
        np.testing.assert_allclose(arrays[0][name], value, rtol=1e-2, atol=1e-3, err_msg=name)
    assert "Units" not in small_runs.config(tmp_path / "with" / "checkpoints" / "epoch_0002.keras")
