"""keras-tuner receives a search space as it is: its values, defaults, scales and conditions."""

from __future__ import annotations

import pytest

from keras_resnet.tuning.parameters import declare, decoded, encoded, hyperparameters
from keras_resnet.tuning.space import space

CHANGES = {
    "units_per_stage": "1,3,5",
    "learning_rate": "0.01..0.4",
    "momentum": "0.8..0.95",
    "skip": "identity,exclusive_gating",
    "shortcut": "A,none",
}


@pytest.fixture(scope="module")
def rows():
    return space("network", changes=CHANGES)


def named(hp):
    return {each.name: each for each in hp.space}


def test_every_value_survives():
    values = {"a": None, "b": True, "c": False, "d": 1, "e": 0, "f": 0.5, "g": "B"}
    texts = {name: encoded(value) for name, value in values.items()}
    assert all(isinstance(text, str | int | float) and not isinstance(text, bool) for text in texts.values())
    restored = decoded(texts)
    assert restored == values and [type(value) for value in restored.values()] == [type(v) for v in values.values()]


def test_ranges_of_a_decade_or_more_are_sampled_logarithmically(rows):
    """So that as many candidates have a learning rate from 0.01 to 0.063 as from 0.063 to 0.4."""
    parameters = named(hyperparameters(rows))
    rate, momentum = parameters["learning_rate"], parameters["momentum"]
    assert (rate.sampling, rate.min_value, rate.max_value, rate.default) == ("log", 0.01, 0.4, 0.1)
    assert (momentum.sampling, momentum.min_value, momentum.max_value, momentum.default) == ("linear", 0.8, 0.95, 0.9)
    assert rate.prob_to_value(0.5) == pytest.approx((0.01 * 0.4) ** 0.5)


def test_the_default_of_a_choice_is_the_papers_and_not_its_first_value(rows):
    units = named(hyperparameters(rows))["units_per_stage"]
    assert (units.values, units.default) == ([1, 3, 5], 3)
    assert declare(rows, hyperparameters(rows))["units_per_stage"] == 3


def test_a_dimension_is_declared_and_returned_only_with_the_values_that_it_depends_on(rows):
    *_, condition = named(hyperparameters(rows))["gate_bias"].conditions
    assert (condition.name, condition.values) == ("skip", ["exclusive_gating"])
    for skip in ("identity", "exclusive_gating"):
        hp = hyperparameters(rows)
        hp.values |= {"skip": skip, "gate_bias": -5.5}
        assert ("gate_bias" in declare(rows, hp)) == (skip == "exclusive_gating")
    hp = hyperparameters(rows)
    hp.values["shortcut"] = "none"
    values = declare(rows, hp)
    assert values["shortcut"] is None and "skip" not in values  # a plain network has none
