"""A network that is split into its units learns the same; more networks are tested in `once`."""

from __future__ import annotations

import signal

import numpy as np
import pytest

import keras_resnet
import small_runs
from keras_resnet.training.interruption import StoppedError
from keras_resnet.training.machine import Machine
from keras_resnet.training.run import train
from keras_resnet.training.unit_sequence import UnitSequence, split_into_units

NETWORKS = {
    "original": {},
    "version 2": {"order": "full_preactivation", "bn_epsilon": 0.1},  # which must not become part of a moving variance
    "masks": {"skip": "dropout", "skip_dropout": 0.5, "stochastic_depth": 0.5},
    "half precision": {"dtype": "mixed_bfloat16"},
}
WAYS = ({"rematerialize": True, "loop": True}, {"rematerialize": True}, {"loop": True})
EACH_ALONE = ("original", "masks")


@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_in_units_changes_every_variable_as_without_them(a_step_in_units, name):
    a_step_in_units(NETWORKS[name], WAYS if name in EACH_ALONE else WAYS[:1])


@pytest.mark.parametrize(
    ("choices", "loops"),
    [
        ({}, ["1_unit1 to 1_unit3", "2_unit1", "2_unit2 to 2_unit3", "3_unit1", "3_unit2 to 3_unit3"]),
        ({"shortcut": "C", "order": "full_preactivation"}, ["1_unit1", "1_unit2 to 1_unit3", "2_unit1"]),
        ({"stochastic_depth": 0.5}, ["1_unit1", "1_unit2", "1_unit3"]),  # each unit has its own probability
        ({"shortcut": None, "width": 2.0}, ["1_unit1", "1_unit2 to 1_unit3"]),  # the first has the stem's channels
    ],
    ids=str,
)
def test_identical_units_are_one_loop(choices, loops):
    model = split_into_units(keras_resnet.ResNet20(**choices), loop=True)
    groups = [
        " to ".join(dict.fromkeys(unit.name.removeprefix("stage") for unit in (layer.units[0], layer.units[-1])))
        for layer in model.layers
        if isinstance(layer, UnitSequence)
    ]
    assert groups[: len(loops)] == loops


def test_a_run_may_be_resumed_in_units(tmp_path, signal_in):
    """Units are not part of the recipe; the files are the same, of stock layers."""
    choices = {**small_runs.STATEFUL, "epochs": 2}
    choices["network"] = {"skip": "identity", "skip_dropout": None, "stochastic_depth": 0.0}  # no masks to draw twice
    recipe = small_runs.small_recipe(**choices)
    train(recipe, tmp_path / "without", say=lambda line: None)

    signal_in(1, 2, signal.SIGTERM)
    with pytest.raises(StoppedError):
        train(recipe, tmp_path / "with", say=lambda line: None)
    signal_in(0, 0)
    train(recipe, tmp_path / "with", say=lambda line: None, machine=Machine(rematerialize=True, loop_units=True))

    actual, expected = (small_runs.results(tmp_path / name) for name in ("with", "without"))
    assert actual["recipe"] == expected["recipe"]
    for row, other in zip(actual["history"], expected["history"], strict=True):
        assert float(row["train_loss"]) == pytest.approx(float(other["train_loss"]), rel=1e-4)
        assert float(row["test_loss"]) == pytest.approx(float(other["test_loss"]), rel=1e-3)
    arrays = [small_runs.arrays(tmp_path / name / "model.keras") for name in ("with", "without")]
    assert arrays[0].keys() == arrays[1].keys()
    for name, value in arrays[1].items():
        np.testing.assert_allclose(arrays[0][name], value, rtol=1e-2, atol=1e-3, err_msg=name)
    assert "UnitSequence" not in small_runs.config(tmp_path / "with" / "checkpoints" / "epoch_0002.keras")
