"""What can be searched, how it is written, and what is refused."""

from __future__ import annotations

import pytest

from keras_resnet import Spec
from keras_resnet.training.recipe import Recipe
from keras_resnet.tuning.space import SPACES, Dimension, Space, space


def test_its_defaults_are_the_papers():
    """The CIFAR recipe and ResNet-20 of He et al. 2015, section 4.2."""
    assert space("all").default() == {
        "units_per_stage": 3,
        "width": 1.0,
        "shortcut": "A",
        "unit": "basic",
        "order": "original",
        "skip": "identity",
        "stem": "cifar",
        "stochastic_depth": 0.0,
        "zero_init_residual": False,
        "learning_rate": 0.1,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "batch_size": 128,
        "schedule": "step",
        "label_smoothing": 0.0,
        "randaugment": 0.0,
        "mixup": 0.0,
    }
    recipe = Recipe(dataset="cifar10")
    for row in SPACES["recipe"]:
        assert row.default == getattr(recipe, row.name)


def test_photographs_have_the_networks_of_imagenet():
    rows = space("all", photographs=True)
    assert rows["model"].values == ("resnet18", "resnet34", "resnet50", "resnet101")
    assert (rows["shortcut"].default, rows["batch_size"].default) == ("B", 256)
    assert "units_per_stage" not in rows
    assert "unit" not in rows


@pytest.mark.parametrize(
    ("text", "values", "ends", "logarithmic"),
    [
        ("0.1", (0.1,), (None, None), False),
        ("0.1,0.2", (0.1, 0.2), (None, None), False),
        ("0.01..0.4", (), (0.01, 0.4), True),
        ("0.1 .. 0.4", (), (0.1, 0.4), False),
        ("-8..0", (), (-8, 0), False),
    ],
)
def test_a_dimension_is_fixed_a_choice_or_a_range(text, values, ends, logarithmic):
    row = space("shape", changes={"gate_bias" if "-" in text else "learning_rate": text}).dimensions[-1]
    assert (row.values, (row.low, row.high), row.logarithmic) == (values, ends, logarithmic)
    assert space("shape", changes={row.name: str(row)}).dimensions[-1] == row  # as it is written


def test_values_have_the_type_of_their_field():
    rows = space("network", changes={"shortcut": "none,B", "zero_init_residual": "true", "units_per_stage": "2,4"})
    assert rows["shortcut"].values == (None, "B")
    assert rows["zero_init_residual"].values == (True,)
    assert rows["units_per_stage"].values == (2, 4)
    assert rows["units_per_stage"].default == 2  # 3, the papers', is none of them


def test_what_depends_on_a_value_goes_with_it():
    rows = space("network")
    assert rows["gate_bias"].when == ("skip", ("exclusive_gating", "shortcut_only_gating"))
    names = {row.name for row in space("network", changes={"skip": "identity,exclusive_gating"}).dimensions}
    assert "gate_bias" in names
    assert not names & {"shortcut_scale", "residual_scale", "skip_dropout"}
    assert space("network", changes={"skip": "exclusive_gating"})["gate_bias"].when == ("skip", ("exclusive_gating",))
    assert "gate_bias" not in space("network", without=["skip"])
    assert space("shape", changes={"gate_bias": "-6,-7"})["gate_bias"].when is None  # the recipe has the skip


def test_what_contradicts_another_choice_is_not_searched_beside_it():
    """Option C puts a projection where a skip would be; a ReLU behind a residual of zero lets no gradient through."""
    rows = space("network")
    assert rows["skip"].when == ("shortcut", ("A", "B"))
    assert "relu_before_addition" not in rows["zero_init_residual"].when[1]
    assert not {"skip", "shortcut_scale"} & {row.name for row in space("network", changes={"shortcut": "C"}).dimensions}
    gated = {**rows.default(), "shortcut": "C", "skip": "exclusive_gating", "gate_bias": -5.0}
    assert not {"skip", "gate_bias"} & rows.active(gated).keys()
    left = space("network", without=["shortcut", "order"])  # to the recipe, which has the papers' unless it says so
    assert (left["skip"].when, left["zero_init_residual"].when) == (None, None)
    assert left["gate_bias"].when == rows["gate_bias"].when


def test_values_that_mean_nothing_beside_the_others_are_passed_over():
    rows = space("network")
    values = {**rows.default(), "gate_bias": -5.0, "shortcut_scale": 0.5}
    assert "gate_bias" not in rows.active(values)
    gated = rows.active({**values, "skip": "exclusive_gating"})
    assert gated["gate_bias"] == -5.0
    assert "shortcut_scale" not in gated


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "mine.toml",
            'units_per_stage = [1, 2]\nshortcut = ["A", "none"]\nlearning_rate = "0.01..0.1"\nmomentum = 0.8\n',
        ),
        ("mine.yaml", "units_per_stage: [1, 2]\nshortcut: [A, null]\nlearning_rate: 0.01..0.1\nmomentum: 0.8\n"),
        (
            "mine.json",
            '{"units_per_stage": [1, 2], "shortcut": ["A", null], "learning_rate": "0.01..0.1", "momentum": 0.8}',
        ),
    ],
)
def test_it_can_be_written_in_a_file(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    rows = space(str(tmp_path / name))
    assert rows.as_json() == {
        "units_per_stage": "1,2",
        "shortcut": "A,none",
        "learning_rate": "0.01..0.1",
        "momentum": "0.8",
    }
    assert rows["shortcut"].values == ("A", None)
    assert rows["momentum"].fixed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "everything"}, "one of shape, network, recipe, all"),
        ({"name": "mine.toml"}, "There is no space 'mine.toml'"),
        ({"without": ["depth"]}, "has no dimension 'depth'"),
        ({"changes": {"learning_rte": "1"}}, "near: learning_rate"),
        ({"changes": {"seed": "1,2"}}, "no dimension 'seed'"),
        ({"changes": {"stage_units": "1,2"}}, "no dimension 'stage_units'"),
        ({"changes": {"width": "wide"}}, "0.01..0.4 for a range. Received: 'wide'"),
        ({"changes": {"width": ""}}, "has no values"),
        (
            {"changes": {"schedule": "cosine,lineer"}},
            "'schedule' may be step, plateau, cosine, linear. Received: 'lineer'",
        ),
        ({"changes": {"shortcut": "a,B"}}, "'shortcut' may be A, B, C, none. Received: 'a'"),
        ({"changes": {"batch_size": "64..256"}}, "'batch_size' has no range. Name its values"),
        ({"changes": {"units_per_stage": "1..9"}}, "'units_per_stage' has no range"),
        ({"changes": {"units_per_stage": "0,1"}}, "'units_per_stage' cannot be 0"),
        ({"changes": {"nesterov": "none"}}, "'nesterov' cannot be None: `nesterov` must be true or false"),
        ({"changes": {"warmup_rate": "none,0.01"}}, "has numbers, beside which `none` cannot"),
        ({"changes": {"model": "resnet20,resnet21"}}, "'model' cannot be 'resnet21': .*20 and 26"),
        ({"changes": {"drops": "0.5,0.75"}}, "no dimension 'drops'"),
        ({"changes": {"width": "2..1"}}, "must rise"),
        ({"name": "shape", "changes": {"units_per_stage": "1", "width": "1", "shortcut": "A"}}, "The space is empty"),
        ({"name": "shape", "without": ["units_per_stage", "width", "shortcut"]}, "The space is empty"),
    ],
)
def test_a_mistake_is_told_with_what_would_do(monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        space(**arguments)


@pytest.mark.parametrize(("name", "text"), [("bad.toml", "width = ["), ("bad.yaml", "- 1\n- 2\n"), ("bad.json", "{")])
def test_a_file_that_is_no_space_is_refused(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match="is no space"):
        space(str(tmp_path / name))


def test_a_name_that_is_no_text_is_refused(tmp_path):
    """YAML takes numbers, dates and truth for names."""
    (tmp_path / "bad.yaml").write_text("1: 2\n")
    with pytest.raises(ValueError, match="There is no dimension '1'"):
        space(str(tmp_path / "bad.yaml"))


def test_every_choice_that_the_papers_name_is_there():
    rows = space("all")
    assert set(rows["order"].values) == {
        "original",
        "bn_after_addition",
        "relu_before_addition",
        "relu_only_preactivation",
        "full_preactivation",
    }
    assert set(rows["shortcut"].values) == {"A", "B", "C"}
    for value in rows["skip"].values:
        Spec(stage_units=(1,), stage_filters=(16,), skip=value)


def test_a_model_may_be_one_that_only_some_unit_makes():
    rows = space("shape", changes={"model": "resnet20,resnet29", "unit": "bottleneck"})
    assert rows["model"].values == ("resnet20", "resnet29")


def test_a_model_and_units_per_stage_exclude_each_other():
    assert "units_per_stage" not in space("shape", changes={"model": "resnet20,resnet32"})
    with pytest.raises(ValueError, match="leave one of the two out"):
        Space((Dimension("units_per_stage", (1, 2)), Dimension("model", ("resnet20",))))
