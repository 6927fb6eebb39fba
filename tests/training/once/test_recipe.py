"""A recipe determines a run, refuses invalid values, and can be read back from its file."""

from __future__ import annotations

import dataclasses
import json

import pytest

from keras_resnet.training.recipe import Recipe, as_json
from keras_resnet.training.recipes import RECIPES, recipe_for


def written(tmp_path, **fields):
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(fields))
    return str(path)


@pytest.mark.parametrize("name", RECIPES)
def test_a_resolved_recipe_is_the_same_when_read_from_its_file(tmp_path, name):
    weights = {"weights": "x.pth"} if name == "finetune" else {}
    recipe = recipe_for(name, dataset="cifar10", model="resnet110", network={"width": 2.0, "skip": "conv"}, **weights)
    recipe = recipe.resolve(390, {"pad": 4, "flip": True, "cutout": 0})
    assert recipe_for(written(tmp_path, **as_json(recipe))) == recipe
    assert recipe.resolve(7, {"pad": 0, "flip": False, "cutout": 4}) == recipe  # all defaults are filled in


def test_a_choice_changes_only_its_field_of_a_named_recipe():
    modern, changed = (recipe_for("modern", dataset="cifar10", **choice) for choice in ({}, {"nesterov": False}))
    assert changed == dataclasses.replace(modern, nesterov=False)
    assert (modern.schedule, modern.decayed, modern.label_smoothing, modern.ema) == ("cosine", "kernels", 0.1, 0.999)


def test_digits_have_a_recipe_of_two_minutes():
    recipe = recipe_for(dataset="digits").resolve(44, {"pad": 1, "flip": False})
    assert (recipe.epochs, recipe.iterations, recipe.batch_size) == (60, 60 * 44, 32)
    assert recipe_for("modern", dataset="digits").epochs == 60
    assert recipe_for("speedrun", dataset="digits").cutout is None  # 8 of 8 pixels


def resolved(**choices):
    return as_json(recipe_for(**{"dataset": "cifar10", "epochs": 10, **choices}).resolve(390, {"pad": 4, "flip": True}))


def test_changed_epochs_scale_a_files_schedule(tmp_path):
    recipe = recipe_for(written(tmp_path, **resolved()), epochs=2).resolve(390, {"pad": 4, "flip": True})
    assert (recipe.epochs, recipe.iterations) == (2, 780)


@pytest.mark.parametrize("choice", [{"batch_size": 64}, {"validation": 5000}, {"dataset": "cifar100"}])
def test_a_files_schedule_still_ends_with_its_epochs_if_the_steps_per_epoch_change(tmp_path, choice):
    recipe = recipe_for(written(tmp_path, **resolved()), **choice).resolve(781, {"pad": 4, "flip": True})
    assert (recipe.epochs, recipe.iterations) == (10, 7810)


def test_a_files_warm_up_and_choices_belong_to_its_network(tmp_path):
    path = written(tmp_path, **resolved(model="resnet20", network={"shortcut": "C"}))
    deep = recipe_for(path, model="resnet110").resolve(390, {"pad": 4, "flip": True})
    assert deep.warmup_rate == 0.01
    assert deep.spec.shortcut == "A"
    assert recipe_for(path, network={"width": 2.0}).spec.shortcut == "C"


def test_a_warm_up_of_fixed_length_belongs_to_the_recipe(tmp_path):
    """The 2016 paper warms up all networks."""
    path = written(tmp_path, **resolved(name="paper2016", model="resnet110"))
    for choices in ({"model": "resnet110v2"}, {"network": {"order": "full_preactivation"}}):
        recipe = recipe_for(path, **choices).resolve(390, {"pad": 4, "flip": True})
        assert (recipe.warmup_rate, recipe.warmup_iterations) == (0.01, 400)


def test_a_files_rate_is_scaled_to_a_changed_batch_size(tmp_path):
    """0.4 for batches of 512, as in `speedrun`, is 0.1 for 128, whatever it was scaled to in between."""
    answers = {"pad": 4, "flip": True, "cutout": 0}
    recipe = recipe_for("speedrun", dataset="cifar10", batch_size=2048).resolve(24, answers)
    path = written(tmp_path, **as_json(recipe))
    for batch_size, rate in ((2048, 1.6), (512, 0.4), (128, 0.1)):
        assert recipe_for(path, batch_size=batch_size).resolve(24, answers).learning_rate == pytest.approx(rate)
    path = written(tmp_path, **resolved())
    assert (
        recipe_for(path, batch_size=512).resolve(97, {"pad": 4, "flip": True}).learning_rate == 0.1
    )  # without `scaled_from`


SIZES = {"first_size": 224, "test_size": 224, "test_resize": 256, "scales": (256, 480)}
PHOTOGRAPHS = {"mean": "channel", "flip": True, "crop": "scale", "color": "none", "size": 224, **SIZES}


def test_sizes_that_follow_from_a_files_size_are_dropped_if_it_changes(tmp_path):
    """2015, section 3.4: the shorter side from [256, 480] for 224."""
    recipe = recipe_for("paper2016", dataset="folder:photos").resolve(10, PHOTOGRAPHS)
    path = written(tmp_path, **as_json(recipe))
    for size in (192, 288):
        other = recipe_for(path, size=size)
        assert {getattr(other, name) for name in SIZES} == {None}, size
    assert recipe_for(path, size=288, test_size=320, first_size=96).resolve(10, PHOTOGRAPHS).first_size == 96
    larger = recipe_for(path, test_size=320)
    assert (larger.size, larger.test_size, larger.test_resize) == (224, 320, None)
    assert recipe_for(path, size=224) == recipe


def test_a_choice_of_the_network_beside_those_of_the_recipe_is_refused_with_its_place():
    with pytest.raises(ValueError, match=r"`width` is a choice of the network.*as in network=\{'width': 2.0\}"):
        recipe_for(dataset="cifar10", width=2.0)


def test_sizes_named_by_a_recipe_stay_if_they_are_possible(tmp_path):
    """`modern` grows from 128 to 192 and is tested at 256."""
    recipe = recipe_for("modern", dataset="folder:photos").resolve(10, {**PHOTOGRAPHS, "test_resize": 293})
    path = written(tmp_path, **as_json(recipe))
    for name in (path, "modern"):
        larger, smaller = (recipe_for(name, dataset="folder:photos", size=size) for size in (256, 96))
        assert (larger.first_size, larger.test_size) == (128, 256)
        assert (smaller.first_size, smaller.test_size) == (None, 256)


@pytest.mark.parametrize(("skip", "everywhere"), [("dropout", False), ("identity", True)])
def test_a_file_from_before_skips_were_in_all_units_keeps_its_meaning(tmp_path, skip, everywhere):
    saved = resolved(network={"skip": skip})
    saved["network"].pop("skip_everywhere")
    assert recipe_for(written(tmp_path, **saved)).spec.skip_everywhere == everywhere
    assert recipe_for(written(tmp_path, **saved), network={"skip": "conv"}).spec.skip_everywhere == everywhere
    assert recipe_for(written(tmp_path, dataset="cifar10", network={"skip": skip})).spec.skip_everywhere


@pytest.mark.parametrize(
    ("model", "order", "rate"), [("resnet110v2", "original", 0.01), ("resnet110", "full_preactivation", 0.0)]
)
def test_a_files_warm_up_belongs_to_the_order_of_its_units(tmp_path, model, order, rate):
    """The full pre-activation unit needs none (2016, appendix); other changes do not affect it."""
    path = written(tmp_path, **resolved(model=model))
    assert recipe_for(path, network={"order": order}).resolve(390, {"pad": 4, "flip": True}).warmup_rate == rate
    path = written(tmp_path, **resolved(model=model, warmup_rate=0.02))
    assert recipe_for(path, network={"width": 2.0}).warmup_rate == 0.02
    assert recipe_for(path, network={"order": order}, warmup_rate=0.02).warmup_rate == 0.02


def test_a_files_mean_belongs_to_its_weights(tmp_path):
    layout = {"pad": 4, "flip": True, "mean": "pixel"}
    path = written(tmp_path, **as_json(recipe_for(dataset="cifar10").resolve(390, layout)))
    assert recipe_for(path, weights="x.pth").mean is None
    assert recipe_for(path, weights="x.pth", mean="channel").mean == "channel"
    assert recipe_for(path, batch_size=64).mean == "pixel"
    path = written(tmp_path, dataset="cifar10", weights="x.pth", mean="weights")
    assert recipe_for(path, weights=None).mean is None
    assert recipe_for(path).mean == recipe_for(path, weights="x.pth").mean == "weights"


@pytest.mark.parametrize("name", [None, "speedrun", "paper2015", "no such recipe"])
def test_a_recipe_without_a_data_set_is_refused(name):
    with pytest.raises(ValueError, match="Name a data set, such as digits or cifar10"):
        recipe_for(name)


def test_the_stages_of_a_recipe_are_those_of_its_run(tmp_path):
    path = written(
        tmp_path, dataset="cifar10", model="resnet18", network={"stage_units": [1, 1, 1, 1], "stem": "cifar"}
    )
    recipe = recipe_for(path).resolve(390, {"pad": 4, "flip": True})
    assert (recipe.spec.depth, recipe.spec.stage_filters) == (10, (64, 128, 256, 512))
    assert recipe_for(written(tmp_path, **as_json(recipe))) == recipe
    other = recipe_for(written(tmp_path, **as_json(recipe)), model="resnet34")
    assert other.spec.stage_units == (3, 4, 6, 3)  # those of another network


def test_a_recipe_starts_residuals_at_zero_in_all_residual_networks():
    for model, zeroed in (("resnet50", True), ("resnet101", True), ("plainnet34", False)):
        assert recipe_for("modern", dataset="folder:photos", model=model).spec.zero_init_residual == zeroed
    speedrun = recipe_for("speedrun", dataset="cifar10", model="resnet20")
    assert speedrun.network == {}  # its stages belong to its own network


@pytest.mark.parametrize(
    ("model", "network", "title"),
    [
        ("resnet20", {}, "resnet20"),
        ("resnet20", {"shortcut": "A", "width": 1.0}, "resnet20"),  # its defaults
        ("resnet110", {"unit": "one_layer", "shortcut": None}, "resnet110 (unit one_layer; shortcut none)"),
        ("resnet29", {"unit": "bottleneck"}, "resnet29 (unit bottleneck)"),
        ("cifar-resnet50", {"shortcut": "B"}, "cifar-resnet50 (shortcut B)"),
        ("resnet18", {"stem": "cifar", "stage_units": (1, 1, 1, 1)}, "resnet18 (stage_units 1,1,1,1; stem cifar)"),
    ],
)
def test_the_title_of_a_network_is_its_name_and_the_choices_that_differ(model, network, title):
    recipe = Recipe(dataset="cifar10", model=model, network=network)
    assert recipe.title == recipe.resolve(390, {"pad": 4, "flip": True}).title == title


def test_a_files_augmentation_belongs_to_its_data_set(tmp_path):
    recipe = recipe_for(written(tmp_path, **resolved()), dataset="digits").resolve(44, {"pad": 1, "flip": False})
    assert (recipe.pad, recipe.flip) == (1, False)  # a mirrored digit is a different symbol


def test_a_files_sizes_stay_for_other_photographs(tmp_path):
    """No folder of photographs has sizes of its own."""
    path = written(tmp_path, dataset="folder:photos", model="resnet18", size=64, first_size=32, mean="pixel", epochs=5)
    recipe = recipe_for(path, dataset="folder:/scratch/photos")
    assert (recipe.size, recipe.first_size, recipe.mean) == (64, 32, "pixel")
    assert recipe_for(path, dataset="cifar10").size is None


def test_the_schedule_of_a_handwritten_file_stays(tmp_path):
    path = written(tmp_path, dataset="cifar10", iterations=32_000, batch_size=128, pad=2)
    recipe = recipe_for(path, batch_size=64).resolve(781, {"pad": 4, "flip": True})
    assert (recipe.iterations, recipe.epochs, recipe.pad) == (32_000, round(32_000 / 781), 2)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"epochs": "10"}, ("`epochs`", "an integer or null", "'10'")),
        ({"epochs": 2.5}, ("`epochs`", "2.5")),
        ({"epochs": 0}, ("`epochs`", "at least 1", "0")),
        ({"batch_size": True}, ("`batch_size`", "True")),
        ({"learning_rate": None}, ("`learning_rate`", "a number", "None")),
        ({"learning_rate": -0.1}, ("`learning_rate`", "at least 0", "-0.1")),
        ({"learning_rate": float("nan")}, ("`learning_rate`", "nan")),
        ({"weight_decay": float("inf")}, ("`weight_decay`", "inf")),
        ({"momentum": 1.0}, ("`momentum`", "below 1", "1.0")),
        ({"ema": float("nan")}, ("`ema`", "nan")),
        ({"drops": 0.5}, ("`drops`", "a list of numbers", "0.5")),
        ({"drops": ["a"]}, ("`drops`", "['a']")),
        ({"drops": [81.0, 122.0]}, ("`drops`", "fractions of the schedule", "(81.0, 122.0)")),
        ({"drops": [0.75, 0.5]}, ("`drops`", "rising", "(0.75, 0.5)")),
        ({"drops": [0.0, 0.5]}, ("`drops`", "above 0")),
        ({"drops": [float("nan")]}, ("`drops`", "nan")),
        ({"drop_factor": 0.1}, ("`drop_factor`", "at least 1", "0.1")),
        ({"warmup_error": 80.0}, ("`warmup_error`", "from 0 to 1", "80.0")),
        ({"warmup_iterations": 0}, ("`warmup_iterations`", "at least 1", "0")),
        ({"drop_factor": 0}, ("`drop_factor`", "at least 1")),
        ({"schedule": "steps"}, ("`schedule`", "'step', 'plateau', 'cosine', 'linear'", "'steps'")),
        ({"precision": "float64"}, ("`precision`", "mixed_bfloat16", "'float64'")),
        ({"decayed": "none"}, ("`decayed`", "kernels", "'none'")),
        ({"seed": 2**32}, ("`seed`", "2**32", str(2**32))),
        ({"seed": -1}, ("`seed`", "-1")),
        ({"validation": -1}, ("`validation`", "-1")),
        ({"flip": "yes"}, ("`flip`", "true or false", "'yes'")),
        ({"model": 20}, ("`model`", "a string", "20")),
        ({"model": "resnet21"}, ("20 and 26", "21")),
        ({"dataset": ["digits"]}, ("`dataset`", "['digits']")),
        ({"network": ["A"]}, ("`network`", "an object")),
        ({"network": {"shortcuts": "A"}}, ("'shortcuts'", "did you mean shortcut?")),
        ({"network": {"width": "2"}}, ("`width`", "a number", "'2'")),
        ({"network": {"shortcut": "D"}}, ("`shortcut`", "'A', 'B', 'C'", "'D'")),
        ({"learningrate": 0.1}, ("'learningrate'", "did you mean learning_rate?")),
    ],
)
def test_an_invalid_value_is_refused_in_a_line_from_a_file_and_from_python(tmp_path, fields, words):
    for arguments in ({"name": written(tmp_path, **{"dataset": "digits", **fields})}, {"dataset": "digits", **fields}):
        with pytest.raises(ValueError) as caught:
            recipe_for(**arguments)
        assert "\n" not in str(caught.value)
        for word in words:
            assert word in str(caught.value)


def test_every_field_is_checked_for_its_type(tmp_path):
    for field in dataclasses.fields(Recipe):
        wrong = 1 if field.name == "network" else {"an": "object"}
        with pytest.raises(ValueError, match=f"`{field.name}` must be"):
            recipe_for(written(tmp_path, **{"dataset": "digits", field.name: wrong}))
