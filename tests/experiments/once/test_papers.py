"""The rows contain the published numbers, and each can be trained."""

from __future__ import annotations

import json

import pytest

from facts import CIFAR_PARAMETERS
from keras_resnet.evaluation.views import Views
from keras_resnet.experiments.papers import EXPERIMENTS, find_experiment
from keras_resnet.models.complexity import count

ROWS = [(experiment, row) for experiment in EXPERIMENTS.values() for row in experiment.rows]


@pytest.fixture(scope="module")
def printed(shared):
    """The published errors, from the reference material."""
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
        published = [[row.published.error, row.published.top5] for row in find_experiment(table).rows]
        assert published == list(printed[key].values())


def test_table_1_of_2016(printed):
    """Its row of exclusive gating that fails is for biases from 0 to -5, of which the first and the last are run."""
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
    """Original before pre-activation, in the order of the table."""
    for name, key in (("he2016-table3", "cifar10"), ("he2016-table3-cifar100", "cifar100")):
        pairs = printed["he2016_table3"][key].values()
        assert errors(name) == [error for pair in pairs for error in pair]
    assert [row.model for row in find_experiment("he2016-table3").rows[2:]] == [
        f"resnet{depth}{version}" for depth in (110, 164, 1001) for version in ("", "v2")
    ]
    first, *rows = find_experiment("he2016-table5").rows
    published = [[row.published.error, row.published.top5] for row in rows]
    assert published == list(printed["he2016_table5_top1_top5_320"].values())
    # The table also repeats numbers of the 2015 network, tested at 224.
    assert (first.published.error, first.published.top5, first.views) == (23.0, 6.7, Views())


def test_table_4_of_2016(shared):
    text = (shared / "facts" / "papers.md").read_text()
    batch_128, batch_64 = (str(row.published) for row in find_experiment("he2016-table4").rows)
    assert f"Table 4: ResNet-1001 {batch_128}, with batch 64 {batch_64}." in text
    hundred = find_experiment("he2016-table3-cifar100").rows[-1].published  # table 4 prints it, too
    assert (hundred.error, hundred.mean, hundred.deviation) == (22.71, 22.68, 0.22)


def test_batches_of_64_are_trained_like_the_code_that_table_4_refers_to():
    """https://github.com/KaimingHe/resnet-1k-layers: `-batchSize 64 -nEpochs 200`; and fb.resnet.torch's train.lua:
    `decay = epoch >= 122 and 2 or epoch >= 81 and 1 or 0`, counted from 1, with Nesterov's momentum and no warm-up."""
    experiment = find_experiment("he2016-table4")
    steps = 50_000 // 64
    recipe = experiment.recipe_of(experiment.rows[1]).resolve(steps, {"pad": 4, "flip": True})
    assert (recipe.epochs, recipe.nesterov, recipe.momentum, recipe.weight_decay) == (200, True, 0.9, 1e-4)
    rates = {1: 0.1, 80: 0.1, 81: 0.01, 121: 0.01, 122: 0.001, 200: 0.001}
    for epoch, rate in rates.items():
        for step in (steps * (epoch - 1), steps * epoch - 1):
            assert recipe.rate(step) == pytest.approx(rate, rel=1e-12), (epoch, step)


def test_all_of_2016_warms_up_on_cifar():
    """For 400 iterations, even with full pre-activation (2016, appendix); but not the code that table 4 refers to."""
    for experiment, row in ROWS:
        if experiment.dataset != "imagenet2012":
            warmup = 400 if experiment.name.startswith("he2016") and "batch 64" not in row.name else None
            assert experiment.recipe_of(row).warmup_iterations == warmup, (experiment.name, row.name)


def test_the_skips_of_table_1_are_in_all_units():
    """ "Applied to all Residual Units"; the 1x1 convolution is "known as option C"."""
    rows = {row.name: row.spec for row in find_experiment("he2016-table1").rows}
    assert all(spec.skip_everywhere for spec in rows.values())
    assert (rows["1x1 convolution"].shortcut, rows["1x1 convolution"].skip) == ("C", "identity")
    assert count(rows["1x1 convolution"], 10).parameters == CIFAR_PARAMETERS[110]["v1_C"]
    # One gate per unit: 18 of 16 to 16 channels, one of 16 to 32, 17 of 32 to 32, one of 32 to 64, 17 of 64 to 64.
    gates = 18 * 16 * 17 + 17 * 32 + 17 * 32 * 33 + 33 * 64 + 17 * 64 * 65
    gated = count(rows["exclusive gating, -6"], 10)
    assert gated.parameters == CIFAR_PARAMETERS[110]["v1_A"] + gates
    assert gated.layers == 110


FIGURES = {
    "he2015-figure1": ["plain-20", "plain-56"],
    "he2015-figure4": ["plain-18", "plain-34", "ResNet-18", "ResNet-34 A"],
    "he2015-figure6": [
        *("plain-20", "plain-32", "plain-44", "plain-56", "plain-110"),
        *("ResNet-20", "ResNet-32", "ResNet-44", "ResNet-56", "ResNet-110", "ResNet-1202"),
    ],
    "he2015-figure7": ["plain-20", "plain-56", "ResNet-20", "ResNet-56", "ResNet-110"],
    "he2016-figure1": ["ResNet-1001", "ResNet-1001 V2"],
    # Figure 3(c) has a bias of 0: "... a poor result of 12.86 % ... also caused by higher training error (Fig 3(c))".
    "he2016-figure3": [
        *("original", "constant scaling 0.5, 0.5", "exclusive gating, -6", "shortcut-only gating, 0"),
        "1x1 convolution",
    ],
    "he2016-figure6": ["original, 110", "bn after addition, 110", "original, 164", "full preactivation, 164"],
}


def test_the_curves_of_the_figures(printed):
    """As in the captions and legends of the figures; their numbers are from the tables that show the same runs."""
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


def test_rows_have_the_networks_of_the_papers():
    """The published numbers of parameters, to their precision."""
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
        assert (recipe.learning_rate, recipe.weight_decay, recipe.momentum) == (0.1, 1e-4, 0.9)
        # Batches of 64: 200 epochs, according to the README of https://github.com/KaimingHe/resnet-1k-layers.
        length = (64, 200, None) if "batch 64" in row.name else (128, None, 64_000)
        assert (recipe.batch_size, recipe.epochs, recipe.iterations) == length


@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=EXPERIMENTS)
def test_names_are_unique_and_sources_are_given(experiment):
    assert len({row.name for row in experiment.rows}) == len(experiment.rows)
    assert experiment.source.startswith(("He et al. 2015, ", "He et al. 2016, "))


def test_published_numbers_are_printed_as_in_the_papers():
    rows = {row.name: str(row.published) for row in find_experiment("he2015-table6").rows}
    assert (rows["ResNet-20"], rows["ResNet-110"]) == ("8.75", "6.43 (6.61 ± 0.16)")
    # papers.md: "152 original 21.3/5.5, pre-activation 21.1/5.5; 200 original 21.8/6.0, pre-activation 20.7/5.3".
    rows = {row.name: str(row.published) for row in find_experiment("he2016-table5").rows}
    assert (rows["ResNet-152, 224x224"], rows["ResNet-152"]) == ("23.0 / 6.7", "21.3 / 5.5")
    assert (rows["ResNet-200"], rows["ResNet-200 V2"]) == ("21.8 / 6.0", "20.7 / 5.3")
    assert str(find_experiment("he2016-table1").rows[1].published) == "fail"
    assert str(find_experiment("he2015-table3").rows[-1].published) == "21.43 / 5.71"
    assert str(find_experiment("he2015-figure6").rows[0].published) == ""


def test_an_unknown_experiment_or_row_is_refused_with_the_existing_ones():
    with pytest.raises(ValueError, match=r"Unknown experiment .* lists all; did you mean he2016-table2"):
        find_experiment("he2016-tabel2")
    with pytest.raises(ValueError, match=r"Rows of he2015-table6 must be among 'ResNet-20', .* Received: 'ResNet-18'$"):
        find_experiment("he2015-table6").only(["ResNet-20", "ResNet-18"])
    assert [row.name for row in find_experiment("he2015-table6").only(["ResNet-44", "ResNet-20"]).rows] == [
        "ResNet-20",
        "ResNet-44",
    ]
