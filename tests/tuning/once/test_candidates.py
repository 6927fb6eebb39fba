"""A candidate is a recipe whose cost is known before it is built."""

from __future__ import annotations

import pytest

import facts
from keras_resnet.models.cifar import cifar_spec
from keras_resnet.training.recipe import Recipe
from keras_resnet.tuning.candidates import Bounds, grid, recipe_of
from keras_resnet.tuning.space import space

BASE = Recipe(dataset="cifar10", epochs=3)


def bounds(**limits):
    return Bounds(BASE, 10, (32, 32, 3), **limits)


@pytest.mark.parametrize(
    ("values", "model", "depth"),
    [
        ({"units_per_stage": 3}, "resnet20", 20),
        ({"units_per_stage": 18}, "resnet110", 110),
        ({"units_per_stage": 18, "unit": "bottleneck"}, "resnet164", 164),
        ({"units_per_stage": 2, "unit": "bottleneck", "stem": "imagenet"}, "resnet20", 20),
        ({"units_per_stage": 2, "unit": "one_layer"}, "resnet8", 8),
        ({"model": "resnet56"}, "resnet56", 56),
    ],
)
def test_units_per_stage_determine_the_depth(values, model, depth):
    recipe = recipe_of(BASE, {**values, "learning_rate": 0.2, "tuner/epochs": 7})
    assert (recipe.model, recipe.spec.depth) == (model, depth)
    assert recipe.spec.unit == values.get("unit", "basic")
    assert (recipe.learning_rate, recipe.epochs) == (0.2, 3)


@pytest.mark.parametrize("unit", ["one_layer", "basic", "bottleneck"])
def test_there_is_a_cifar_network_of_every_unit_and_number_of_units(unit):
    """Including numbers that give the depth of one of ImageNet's networks."""
    for n in (*space("all")["units_per_stage"].values, 8, 11, 16):
        recipe = recipe_of(BASE, {"units_per_stage": n, "unit": unit})
        assert recipe.spec == cifar_spec(0, unit, stage_units=(n, n, n))
        assert recipe.title.partition(" ")[0].endswith(f"net{recipe.spec.depth}")
        assert bounds().admits({"units_per_stage": n, "unit": unit})


def test_a_candidate_is_plain_or_of_version_2_if_its_base_is():
    base = Recipe(dataset="cifar10", model="resnet110v2")
    assert recipe_of(base, {"units_per_stage": 5}).spec.order == "full_preactivation"
    assert recipe_of(Recipe(dataset="cifar10", model="plainnet20"), {"units_per_stage": 3}).spec.shortcut is None


def test_values_override_choices_of_the_base_that_they_exclude():
    base = Recipe(
        dataset="cifar10", network={"skip": "dropout", "skip_dropout": 0.3, "zero_init_residual": True, "width": 2.0}
    )
    recipe = recipe_of(base, {"shortcut": "C", "order": "relu_before_addition"})
    assert recipe.network == {"width": 2.0, "shortcut": "C", "order": "relu_before_addition"}
    kept = recipe_of(base, {"shortcut": "B", "order": "original"}).spec
    assert (kept.skip, kept.skip_dropout, kept.zero_init_residual) == ("dropout", 0.3, True)


@pytest.mark.parametrize("value", [{"units_per_stage": 3}, {"model": "resnet20"}])
def test_the_stages_are_those_of_a_candidate_s_model(value):
    base = Recipe(dataset="cifar10", epochs=3, network={"stage_units": (1, 1, 1), "width": 2.0})
    recipe = recipe_of(base, value)
    assert (recipe.spec.stage_units, recipe.spec.width) == ((3, 3, 3), 2.0)
    assert recipe_of(base, {"learning_rate": 0.2}).spec.stage_units == (1, 1, 1)


@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_the_parameters_are_the_papers(depth):
    """`facts.py`, option A."""
    cost = bounds().check({"units_per_stage": (depth - 2) // 6, "shortcut": "A"})
    assert cost.parameters == facts.CIFAR_PARAMETERS[depth]["v1_A"]


def test_a_grid_contains_candidates_that_only_one_order_brings_within_bounds():
    """Version 2 of ResNet-20 with projections has 272,282 parameters, the original 272,474."""
    rows = space(
        "shape",
        changes={"units_per_stage": "3", "width": "1", "shortcut": "B", "order": "original,full_preactivation"},
    )
    candidates = list(grid(rows, bounds(parameters=272_300)))
    assert [values["order"] for values in candidates] == ["full_preactivation"]


def test_candidates_out_of_bounds_are_not_admitted():
    parameters, macs = 269_722, 40_551_040  # ResNet-20
    assert bounds(parameters=parameters).admits({"units_per_stage": 3})
    assert not bounds(parameters=parameters - 1).admits({"units_per_stage": 3})
    assert bounds(macs=macs).admits({"units_per_stage": 3})
    assert not bounds(macs=macs - 1).admits({"units_per_stage": 3})
    assert str(bounds(parameters=300_000, macs=5)) == "300,000 parameters and 5 multiply-adds"


def test_no_trial_applies_randaugment_to_grey_images():
    grey = Bounds(Recipe(dataset="digits", epochs=3), 10, (8, 8, 1))
    assert [limits.admits({"randaugment": 5.0}) for limits in (bounds(), grey)] == [True, False]
    assert grey.admits({"randaugment": 0.0})
    with pytest.raises(ValueError, match=r"`randaugment` needs images of 3 channels\. Received: 1, in digits\."):
        grey.check({"randaugment": 5.0})
    always = Bounds(Recipe(dataset="digits", epochs=3, randaugment=5.0), 10, (8, 8, 1))
    assert not always.admits({"width": 1.0})


def test_candidates_that_cannot_be_built_are_not_admitted():
    """Option A would drop channels after a stem of 16 filters."""
    assert not bounds().admits({"width": 0.5, "shortcut": "A"})
    assert bounds().admits({"width": 0.5, "shortcut": "B"})


@pytest.mark.parametrize(
    ("of", "values", "rate"),
    [
        ("resnet20", {"units_per_stage": 18}, 0.01),
        ("resnet20", {"units_per_stage": 18, "order": "full_preactivation"}, 0.0),
        ("resnet20", {"model": "resnet110"}, 0.01),
        ("resnet20", {"units_per_stage": 18, "warmup_rate": 0.05}, 0.05),
        ("resnet110", {"units_per_stage": 3}, 0.0),
        ("resnet110", {"order": "full_preactivation"}, 0.0),
        ("resnet110", {"learning_rate": 0.2}, 0.01),
    ],
)
def test_the_warm_up_is_that_of_the_candidates_own_network(of, values, rate):
    """From 110 layers, except with full pre-activation (2015, section 4.2; 2016, appendix); saved recipes state it."""
    base = Recipe(dataset="cifar10", model=of, epochs=3).resolve(390, {"pad": 4, "flip": True})
    assert recipe_of(base, values).resolve(390, {"pad": 4, "flip": True}).warmup_rate == rate
