"""Search spaces: which dimensions there are, how they are written, and what is refused."""

from __future__ import annotations

import pytest

from keras_resnet import Spec
from keras_resnet.training.recipe import Recipe
from keras_resnet.tuning.space import SPACES, Dimension, Space, space


def test_its_defaults_are_the_papers():
    """He et al. 2015, section 4.2: the CIFAR recipe and ResNet-20."""
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
        ("0.1", (0.1,), None, False),
        ("0.1,0.2", (0.1, 0.2), None, False),
        ("0.01..0.4", (), (0.01, 0.4), True),
        ("0.1 .. 0.4", (), (0.1, 0.4), False),
        ("-8..0", (), (-8, 0), False),
    ],
)
def test_a_dimension_is_fixed_a_choice_or_a_range(text, values, ends, logarithmic):
    row = space("shape", changes={"gate_bias" if "-" in text else "learning_rate": text}).dimensions[-1]
    assert (row.values, row.ends, row.logarithmic) == (values, ends, logarithmic)
    assert space("shape", changes={row.name: str(row)}).dimensions[-1] == row  # its text can be parsed again


def test_values_have_the_type_of_their_field():
    rows = space("network", changes={"shortcut": "none,B", "zero_init_residual": "true", "units_per_stage": "2,4"})
    assert rows["shortcut"].values == (None, "B")
    assert rows["zero_init_residual"].values == (True,)
    assert rows["units_per_stage"].values == (2, 4)
    assert rows["units_per_stage"].default == 2  # the papers' 3 is not among them


def test_a_dimension_is_left_out_with_the_values_that_it_depends_on():
    rows = space("network")
    assert rows["gate_bias"].when == ("skip", ("exclusive_gating", "shortcut_only_gating"))
    names = {row.name for row in space("network", changes={"skip": "identity,exclusive_gating"}).dimensions}
    assert "gate_bias" in names
    assert not names & {"shortcut_scale", "residual_scale", "skip_dropout"}
    assert space("network", changes={"skip": "exclusive_gating"})["gate_bias"].when == ("skip", ("exclusive_gating",))
    assert "gate_bias" not in space("network", without=["skip"])
    assert space("shape", changes={"gate_bias": "-6,-7"})["gate_bias"].when is None  # the recipe decides on the skip


def test_choices_that_contradict_each_other_are_not_searched_together():
    """Option C replaces the skip by a projection; a ReLU after a residual of zero blocks its gradient."""
    rows = space("network")
    assert rows["skip"].when == ("shortcut", ("A", "B"))
    assert "relu_before_addition" not in rows["zero_init_residual"].when[1]
    assert not {"skip", "shortcut_scale"} & {row.name for row in space("network", changes={"shortcut": "C"}).dimensions}
    gated = {**rows.default(), "shortcut": "C", "skip": "exclusive_gating", "gate_bias": -5.0}
    assert not {"skip", "gate_bias"} & rows.active(gated).keys()
    # The recipe decides on both then, and has the papers' values by default.
    remaining = space("network", without=["shortcut", "order"])
    assert (remaining["skip"].when, remaining["zero_init_residual"].when) == (None, None)
    assert remaining["gate_bias"].when == rows["gate_bias"].when


def test_values_of_inactive_dimensions_are_ignored():
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
        ({"name": "mine.toml"}, "The space file 'mine.toml' does not exist"),
        ({"without": ["depth"]}, "has no dimension 'depth'"),
        ({"changes": {"learning_rte": "1"}}, "did you mean learning_rate"),
        ({"changes": {"seed": "1,2"}}, "Unknown dimension 'seed'"),
        ({"changes": {"stage_units": "1,2"}}, "Unknown dimension 'stage_units'"),
        ({"changes": {"width": "wide"}}, "0.01..0.4 for a range. Received: 'wide'"),
        ({"changes": {"width": ""}}, "has no values"),
        (
            {"changes": {"schedule": "cosine,lineer"}},
            "'schedule' cannot be 'lineer': `schedule` must be one of 'step', 'plateau', 'cosine', 'linear'",
        ),
        ({"changes": {"shortcut": "a,B"}}, "'shortcut' cannot be 'a': `shortcut` must be one of 'A', 'B', 'C', None"),
        ({"changes": {"batch_size": "64..256"}}, "'batch_size' cannot be a range. List its values"),
        ({"changes": {"units_per_stage": "1..9"}}, "'units_per_stage' cannot be a range"),
        ({"changes": {"units_per_stage": "0,1"}}, "'units_per_stage' cannot be 0"),
        ({"changes": {"nesterov": "none"}}, "'nesterov' cannot be None: `nesterov` must be true or false"),
        ({"changes": {"nesterov": "yes"}}, "'nesterov' cannot be 'yes': `nesterov` must be true or false"),
        ({"changes": {"warmup_rate": "none,0.01"}}, "must not combine numbers with `none`"),
        ({"changes": {"model": "resnet20,resnet21"}}, "'model' cannot be 'resnet21': .*20 and 26"),
        ({"changes": {"drops": "0.5,0.75"}}, "Unknown dimension 'drops'"),
        ({"changes": {"width": "2..1"}}, "must be increasing"),
        ({"name": "shape", "changes": {"units_per_stage": "1", "width": "1", "shortcut": "A"}}, "The space is empty"),
        ({"name": "shape", "without": ["units_per_stage", "width", "shortcut"]}, "The space is empty"),
    ],
)
def test_a_mistake_is_reported_with_what_is_accepted(monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        space(**arguments)


@pytest.mark.parametrize(("name", "text"), [("bad.toml", "width = ["), ("bad.yaml", "- 1\n- 2\n"), ("bad.json", "{")])
def test_a_file_that_is_not_a_space_is_refused(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match="is not a valid space"):
        space(str(tmp_path / name))


def test_a_name_that_is_not_a_string_is_refused(tmp_path):
    """YAML accepts numbers, dates and booleans as keys."""
    (tmp_path / "bad.yaml").write_text("1: 2\n")
    with pytest.raises(ValueError, match="Unknown dimension '1'"):
        space(str(tmp_path / "bad.yaml"))


def test_every_choice_of_the_papers_can_be_searched():
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


def test_a_model_may_exist_with_one_kind_of_unit_only():
    rows = space("shape", changes={"model": "resnet20,resnet29", "unit": "bottleneck"})
    assert rows["model"].values == ("resnet20", "resnet29")


def test_a_model_and_units_per_stage_exclude_each_other():
    assert "units_per_stage" not in space("shape", changes={"model": "resnet20,resnet32"})
    with pytest.raises(ValueError, match="leave out one of the two"):
        Space((Dimension("units_per_stage", (1, 2)), Dimension("model", ("resnet20",))))
