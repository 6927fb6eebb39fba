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


def test_tables_3_and_5_of_2016(printed):
    """Original before pre-activated, as the rows stand in the table."""
    for name, key in (("he2016-table3", "cifar10"), ("he2016-table3-cifar100", "cifar100")):
        pairs = printed["he2016_table3"][key].values()
        assert errors(name) == [error for pair in pairs for error in pair]
    assert [row.model for row in find_experiment("he2016-table3").rows[2:]] == [
        f"resnet{depth}{version}" for depth in (110, 164, 1001) for version in ("", "v2")
    ]
    found = [[row.published.error, row.published.top5] for row in find_experiment("he2016-table5").rows]
    assert found == list(printed["he2016_table5_top1_top5_320"].values())


def test_table_4_of_2016(shared):
    text = (shared / "facts" / "papers.md").read_text()
    whole, smaller = (str(row.published) for row in find_experiment("he2016-table4").rows)
    assert f"Table 4: ResNet-1001 {whole}, with batch 64 {smaller}." in text


FIGURES = {
    "he2015-figure4": ["plain-18", "plain-34", "ResNet-18", "ResNet-34 A"],
    "he2015-figure6": [
        *("plain-20", "plain-32", "plain-44", "plain-56", "plain-110"),
        *("ResNet-20", "ResNet-32", "ResNet-44", "ResNet-56", "ResNet-110", "ResNet-1202"),
    ],
    "he2015-figure7": ["plain-20", "plain-56", "ResNet-20", "ResNet-56", "ResNet-110"],
    "he2016-figure1": ["ResNet-1001", "ResNet-1001 V2"],
    # "... a poor result of 12.86 % ... also caused by higher training error (Fig 3(c))": of a bias of 0.
    "he2016-figure3": [
        *("original", "constant scaling 0.5, 0.5", "exclusive gating, -6", "shortcut-only gating, 0"),
        "1x1 convolution",
    ],
    "he2016-figure6": ["original, 110", "bn after addition, 110", "original, 164", "full preactivation, 164"],
}


def test_the_curves_of_the_figures(printed):
    """As the figures' captions and legends name them; whose numbers are those of the tables that show the same runs."""
    assert {name: [row.name for row in EXPERIMENTS[name].rows] for name in EXPERIMENTS if "figure" in name} == FIGURES
    assert [row.published.error for row in find_experiment("he2016-figure3").rows] == [6.61, 12.35, 8.70, 12.86, 12.22]
    assert [row.published.error for row in find_experiment("he2016-figure6").rows] == [6.61, 8.17, 5.93, 5.46]
    two, three = printed["he2015_table2_top1_10crop"], printed["he2015_table3_10crop_top1_top5"]
    assert errors("he2015-figure4") == [two[name] for name in ("plain18", "plain34", "resnet18", "resnet34A")]
    assert find_experiment("he2015-figure4").rows[1].published.top5 == three["plain34"][1]


def test_plain_110_stays_above_60_percent(shared):
    row = next(row for row in find_experiment("he2015-figure6").rows if row.name == "plain-110")
    assert "Plain-110 stays above 60." in (shared / "facts" / "papers.md").read_text()
    assert str(row.published) == "above 60"


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
