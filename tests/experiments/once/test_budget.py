"""A budget scales an experiment down proportionally, and marks it as scaled."""

from __future__ import annotations

import dataclasses

import pytest

from keras_resnet.experiments.budget import Budget
from keras_resnet.experiments.papers import EXPERIMENTS, find_experiment

OF_CIFAR = [name for name, one in EXPERIMENTS.items() if one.dataset != "imagenet2012"]


def scaled(name, **budget):
    experiment = Budget(**budget).scale(find_experiment(name))
    return experiment, [row.spec.depth for row in experiment.rows]


def test_networks_of_six_depths_are_replaced_by_shallower_ones_in_the_same_order():
    experiment, depths = scaled("he2015-table6", depth=38)
    assert depths == [8, 14, 20, 26, 32, 38]
    assert [row.name for row in experiment.rows] == [row.name for row in find_experiment("he2015-table6").rows]


def test_where_there_are_fewer_depths_the_deepest_networks_are_left_out():
    experiment, depths = scaled("he2015-figure6", depth=20)
    plain = [depth for row, depth in zip(experiment.rows, depths, strict=True) if row.name.startswith("plain")]
    residual = [depth for row, depth in zip(experiment.rows, depths, strict=True) if row.name.startswith("ResNet")]
    assert plain == residual == [8, 14, 20]
    assert all(row.spec.shortcut is None for row in experiment.rows[:3])


def test_no_network_is_replaced_by_a_deeper_one():
    assert scaled("he2015-table6", depth=110)[1] == [20, 32, 44, 56, 104, 110]
    assert set(scaled("he2016-table1", depth=200)[1]) == {110}


def test_an_experiment_of_one_depth_uses_the_greatest_depth_allowed():
    assert set(scaled("he2016-table1", depth=20)[1]) == {20}
    assert set(scaled("he2016-table1", depth=25)[1]) == {20}


@pytest.mark.parametrize("name", OF_CIFAR)
def test_everything_but_the_depth_of_a_network_is_retained(name):
    before = {row.name: row.spec for row in find_experiment(name).rows}
    for row in scaled(name, depth=20, epochs=3, images=1000)[0].rows:
        original = before[row.name]
        for choice in ("unit", "order", "shortcut", "skip", "gate_bias", "shortcut_scale", "skip_dropout", "stem"):
            assert getattr(row.spec, choice) == getattr(original, choice), (row.name, choice)
        assert row.spec.depth < original.depth


@pytest.mark.parametrize("name", OF_CIFAR)
def test_at_every_depth_a_network_differs_from_the_papers_only_in_its_depth(name):
    """Including 50, 152 and 200 layers, depths of ImageNet networks too; and each is as deep as the budget allows."""
    experiment = find_experiment(name)
    papers = {row.name: row.spec for row in experiment.rows}
    for limit in (limit for limit in range(20, 261) if limit % 6 in (1, 2)):  # depths are 6n+2: each, and one below it
        deepest: dict[str, int] = {}
        for row in Budget(depth=limit).scale(experiment).rows:
            spec, paper = row.spec, papers[row.name]
            assert spec == dataclasses.replace(paper, stage_units=3 * spec.stage_units[:1])
            assert row.model.removesuffix("v2").endswith(f"net{spec.depth}")
            assert spec.depth <= min(limit, paper.depth)
            deepest[spec.unit] = max(spec.depth, deepest.get(spec.unit, 0))
        for unit, depth in deepest.items():
            step = 18 if unit == "bottleneck" else 6
            depths = [paper.depth for paper in papers.values() if paper.unit == unit]
            allowed = 2 + step * ((limit - 2) // step)
            assert depth == min(max(depths), allowed) or allowed < 2 + step * len(set(depths))


def test_a_network_trains_like_the_one_that_it_replaces():
    """ResNet-110 warms up, and so does its replacement; ResNet-44 does not (2015, section 4.2)."""
    experiment, _ = scaled("he2016-table1", depth=20)
    assert {experiment.recipe_of(row).warmup_rate for row in experiment.rows} == {0.01}
    experiment, _ = scaled("he2015-table6", depth=20)  # leaves out ResNet-110
    assert {experiment.recipe_of(row).warmup_rate for row in experiment.rows} == {None}
    experiment, _ = scaled("he2016-table2", depth=20)
    rates = {row.spec.order: experiment.recipe_of(row).warmup_rate for row in experiment.rows}
    assert rates == {order: 0.01 for order in rates} | {"full_preactivation": None}


def test_epochs_and_images_are_set_in_every_recipe():
    experiment, depths = scaled("he2016-table4", epochs=3, images=1000)
    assert depths == [1001, 1001]
    for row in experiment.rows:
        recipe = experiment.recipe_of(row)
        assert (recipe.epochs, recipe.iterations, recipe.images) == (3, None, 1000)
        assert recipe.resolve(8, {"mean": "pixel"}).iterations == 24
        assert recipe.warmup_iterations is None  # 400 would be more than the entire run
    assert experiment.recipe_of(experiment.rows[1]).batch_size == 64


def test_a_budget_is_parsed_and_printed():
    budget = Budget.parse("depth=20, epochs=6,images=10000")
    assert budget == Budget(20, 6, 10_000)
    assert str(budget) == "20 layers at most, 6 epochs, 10,000 training images"
    assert not Budget.parse(None) and str(Budget()) == ""
    assert str(Budget.parse("epochs=2")) == "2 epochs"
    assert str(Budget.parse("epochs=1,images=50")) == "1 epoch, 50 training images"


@pytest.mark.parametrize("text", ["", ",", "depth", "depth=x", "layers=20", "depth=20;epochs=3", "depth=20,depth=30"])
def test_text_that_cannot_be_parsed_is_refused(text):
    with pytest.raises(ValueError, match=r"A budget must read depth=20,epochs=4,images=10000"):
        Budget.parse(text)


def test_a_budget_that_leaves_nothing_is_refused():
    with pytest.raises(ValueError, match=r"depth must be at least 8. Received: 7"):
        Budget.parse("depth=7")
    with pytest.raises(ValueError, match="leaves no network of he2016-table3-cifar100"):
        scaled("he2016-table3-cifar100", depth=14)
    with pytest.raises(ValueError, match="A budget for he2015-table3 must have no depth"):
        scaled("he2015-table3", depth=20)
