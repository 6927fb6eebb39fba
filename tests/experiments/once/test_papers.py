"""The rows say what the papers print, and each can be trained."""

from __future__ import annotations

import json

import pytest

from keras_resnet.experiments.papers import EXPERIMENTS, find_experiment
from keras_resnet.models.complexity import count

ROWS = [(experiment, row) for experiment in EXPERIMENTS.values() for row in experiment.rows]


@pytest.fixture(scope="module")
def printed(shared):
    """The papers' errors as the reference material has them."""
    return json.loads((shared / "facts" / "facts.json").read_text())["error_percent"]


def errors(name, rows=None):
    return [row.published.error for row in (rows or find_experiment(name).rows)]


def test_the_tables_of_2015(printed):
    assert errors("he2015-table6") == list(printed["he2015_table6_cifar10"].values())
    table2 = printed["he2015_table2_top1_10crop"]
    assert errors("he2015-table2") == [table2[name] for name in ("plain18", "plain34", "resnet18", "resnet34A")]
    for table, key in (
        ("he2015-table3", "he2015_table3_10crop_top1_top5"),
        ("he2015-table4", "he2015_table4_multiscale_top1_top5"),
    ):
        found = [[row.published.error, row.published.top5] for row in find_experiment(table).rows]
        assert found == list(printed[key].values())


def test_table_1_of_2016(printed):
    """Its row of exclusive gating that fails stands for biases of 0 to -5: the first and the last are run."""
    expected = []
    for _, bias, error in printed["he2016_table1_cifar10_resnet110"]:
        expected += [error] * (2 if bias == [0, -5] else 1)
    rows = find_experiment("he2016-table1").rows
    assert ["fail" if row.published.fail else row.published.error for row in rows] == expected
    assert [row.spec.gate_bias for row in rows if row.spec.gate_bias is not None] == [0, -5, -6, -7, 0, -6]


def test_table_2_of_2016(printed):
    for row in find_experiment("he2016-table2").rows:
        assert row.published.error == printed["he2016_table2_cifar10"][row.spec.order][row.model.removeprefix("resnet")]


def test_networks_are_those_of_their_rows():
    """The parameters that the papers print, to their precision."""
    parameters = {row.name: count(row.spec, 10).parameters for row in find_experiment("he2015-table6").rows}
    assert [round(value / 1e6, 2) for value in list(parameters.values())[:4]] == [0.27, 0.46, 0.66, 0.85]
    assert round(parameters["ResNet-1202"] / 1e6, 1) == 19.4
    assert all(row.spec.depth == 110 for row in find_experiment("he2016-table1").rows)
    assert {row.spec.shortcut for row in find_experiment("he2015-figure6").rows if row.name.startswith("plain")} == {
        None
    }


@pytest.mark.parametrize(("experiment", "row"), ROWS, ids=[f"{one.name}: {row.name}" for one, row in ROWS])
def test_every_row_has_a_recipe(experiment, row):
    recipe = experiment.recipe_of(row, seed=3)
    assert (recipe.seed, recipe.model, recipe.dataset) == (3, row.model, experiment.dataset)
    assert recipe.spec == row.spec
    if experiment.dataset != "imagenet2012":
        assert (recipe.iterations, recipe.learning_rate, recipe.weight_decay, recipe.momentum) == (
            64000,
            0.1,
            1e-4,
            0.9,
        )
        assert recipe.batch_size == (64 if "batch 64" in row.name else 128)


@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=EXPERIMENTS)
def test_names_are_unique_and_sources_are_named(experiment):
    assert len({row.name for row in experiment.rows}) == len(experiment.rows)
    assert experiment.source.startswith(("He et al. 2015, ", "He et al. 2016, "))


def test_what_is_printed_reads_as_in_the_paper():
    rows = {row.name: str(row.published) for row in find_experiment("he2015-table6").rows}
    assert (rows["ResNet-20"], rows["ResNet-110"]) == ("8.75", "6.43 (6.61 ± 0.16)")
    assert str(find_experiment("he2016-table1").rows[1].published) == "fail"
    assert str(find_experiment("he2015-table3").rows[-1].published) == "21.43 / 5.71"
    assert str(find_experiment("he2015-figure6").rows[0].published) == ""


def test_an_unknown_experiment_or_row_is_refused_beside_what_is_there():
    with pytest.raises(ValueError, match=r"Unknown experiment 'he2016-tabel2'. Near it: he2016-table2"):
        find_experiment("he2016-tabel2")
    with pytest.raises(ValueError, match=r"he2015-table6 has the rows ResNet-20, .* Received: ResNet-18"):
        find_experiment("he2015-table6").only(["ResNet-20", "ResNet-18"])
    assert [row.name for row in find_experiment("he2015-table6").only(["ResNet-44", "ResNet-20"]).rows] == [
        "ResNet-20",
        "ResNet-44",
    ]
