"""Fine-tuning: what a run adopts from its initial weights, what it replaces, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest

import small_runs
from comparing import kept, network, values
from keras_resnet import saving
from keras_resnet.cli import main
from keras_resnet.data import DATASETS, load
from keras_resnet.models.catalog import find
from keras_resnet.models.spec import as_choices
from keras_resnet.preprocessing import normalize
from keras_resnet.training.recipe import Recipe
from keras_resnet.training.recipes import recipe_for
from keras_resnet.training.run import train
from keras_resnet.training.transfer import normalisation, probe_recipe
from keras_resnet.weights import Pretrained, read


def test_stages_are_adopted_from_a_run_s_weights(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    train_on = ["train", "digits", "--images", "64", "--epochs", "1"]
    chosen = ["--model", "resnet8", "--stage-units", "1,2", "--stage-filters", "16,24"]
    assert main([*train_on, *chosen, "--out", str(first)]) == 0
    assert main([*train_on, "--weights", str(first), "--out", str(second)]) == 0
    for variables in (network(first), network(second)):
        assert variables["stage2_unit2_conv2/kernel"].shape == (3, 3, 24, 24)
        assert "stage3_unit1_conv1/kernel" not in variables


def test_model_network_and_normalisation_are_adopted_from_a_run_s_weights(begun):
    model, out = begun()
    recipe, before = (json.loads((folder / "recipe.json").read_text()) for folder in (out, small_runs.finished()))
    assert (recipe["model"], recipe["mean"]) == (before["model"], "weights")
    assert recipe["network"] == before["network"]
    actual, expected = values(model), network(small_runs.finished())
    names = [name for name in expected if name.startswith("normalization/")]
    assert names and all(np.array_equal(actual[name], expected[name]) for name in names)


def without_learning(weights, out):
    """Runs a training that begins with weights and learns nothing."""
    nothing = {"freeze_until": "features", "learning_rate": 0.0, "weight_decay": 0.0}
    train(recipe_for("paper", dataset="digits", weights=str(weights), epochs=1, **nothing), out, lambda line: None)


def test_for_other_classes_the_head_is_new(tmp_path, monkeypatch):
    """The same network with other class names provides all layers but the dense one."""
    model, info = saving.load(small_runs.finished())
    saving.save(model, tmp_path / "other.keras", {**info, "class_names": list("abcdefghij")})
    without_learning(tmp_path / "other.keras", tmp_path / "run")
    assert kept(tmp_path / "run", small_runs.finished()) == {"normalization", "stem", "stage1", "stage2"}


def test_for_the_same_classes_by_identifier_the_head_is_kept_and_the_file_names_them(tmp_path, monkeypatch):
    """With the identifiers of imagenet2012, which are WordNet's."""
    ids = ("n01440764", "n01443537", "n01484850", "n01491361", "n01494475")
    ids += ("n01496331", "n01498041", "n01514668", "n01514859", "n01518878")
    names = ["tench", "goldfish", "great white shark", "tiger shark", "hammerhead"]
    names += ["electric ray", "stingray", "cock", "hen", "ostrich"]
    model, info = saving.load(small_runs.finished())
    saving.save(model, tmp_path / "fish.keras", {**info, "class_names": names, "class_ids": ids})
    monkeypatch.setitem(DATASETS, "digits", dataclasses.replace(small_runs.few_digits(), class_names=ids))
    without_learning(tmp_path / "fish.keras", tmp_path / "run")
    assert "logits" in kept(tmp_path / "run", small_runs.finished())
    info = saving.read_info(tmp_path / "run")
    assert (info["class_names"], info["class_ids"]) == (names, list(ids))


def test_the_default_recipe_with_weights_is_fine_tuning(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = recipe_for(dataset="cifar10", weights="hf://timm/resnet18.a1_in1k", model="resnet18")
    assert (recipe.freeze_until, recipe.probe_epochs, recipe.epochs, recipe.schedule) == ("features", 5, 15, "cosine")
    assert recipe.probe_rate > recipe.learning_rate
    shutil.copy(small_runs.finished() / "model.keras", "model.keras")  # in the working directory
    assert recipe_for(dataset="cifar10").model == "resnet20"
    assert recipe_for(dataset="cifar10").weights is None
    assert recipe_for(dataset="cifar10").freeze_until is None


def test_the_schedule_of_a_probe_ends_with_the_probe():
    choices = {"freeze_until": "features", "probe_epochs": 5, "epochs": 15, "schedule": "cosine", "probe_rate": 0.2}
    recipe = Recipe(dataset="cifar10", weights="a.keras", batch_size=256, scaled_from=128, **choices).resolve(195, {})
    probe = probe_recipe(recipe).resolve(195, {})
    assert (recipe.iterations, probe.iterations, probe.epochs, probe.probe_epochs) == (15 * 195, 5 * 195, 5, None)
    assert [probe.rate(step) for step in (0, 5 * 195)] == pytest.approx([0.4, 0.0])


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"freeze_until": "stage4"}, "`freeze_until` must be one of stem, stage1, stage2, stage3, features"),
        ({"freeze_until": "stage3"}, "`freeze_until` must be one of stem, stage1, stage2, features"),
        ({"weights": None, "freeze_until": "stage1"}, "`freeze_until` needs `weights`"),
        ({"weights": None, "mean": "weights"}, "`mean` can be 'weights' only if `weights` are given"),
        ({"weights": "nothing.keras"}, "Received: weights='nothing.keras'"),
        ({"probe_epochs": 0}, "`probe_epochs` must be at least 1"),
        (
            {"network": {"stage_units": (1, 1), "stage_filters": (4, 16)}},
            r"are for `stage_filters=\(4, 8\)`. Received: stage_filters=\(4, 16\)",
        ),
    ],
)
def test_invalid_choices_are_refused_before_anything_is_written(fine_tune, tmp_path, choices, words):
    with pytest.raises(ValueError, match=words):
        fine_tune(**choices)
    assert list(tmp_path.iterdir()) == []


def test_weights_do_not_fit_a_deeper_network(fine_tune, tmp_path):
    choices = {"width": 0.25, "shortcut": "B"}
    info = {**saving.read_info(small_runs.finished()), "network": choices}
    saving.save(find("resnet8")(input_shape=(8, 8, 1), **choices), tmp_path / "shallow.keras", info)
    with pytest.raises(ValueError, match="it lacks stage1_unit2_conv1/kernel"):
        fine_tune(model="resnet14", weights=str(tmp_path / "shallow.keras"), mean="pixel")
    assert not (tmp_path / "run").exists()


def test_weights_without_a_known_normalisation_need_a_mean(tmp_path, fine_tune):
    _, info = saving.load(small_runs.finished())
    bare = find(info["model"])(weights=small_runs.finished(), include_preprocessing=False, input_shape=(8, 8, 1))
    bare.save_weights(tmp_path / "x.weights.h5")
    saved = {"model": info["model"], "network": info["network"], "weights": str(tmp_path / "x.weights.h5")}
    with pytest.raises(ValueError, match=r"x.weights.h5' does not say how its images were normalised"):
        fine_tune(**saved)
    out, _ = fine_tune(**saved, mean="channel", freeze_until="features")
    assert kept(out, small_runs.finished()) >= {"stem", "stage1", "stage2"}


@pytest.mark.parametrize("mean", ["weights", "channel"])
def test_weights_for_rgb_images_are_refused_for_grey_ones(mean):
    rgb = Pretrained("'rgb.pth'", {"stem_conv/kernel": np.zeros((3, 3, 3, 16))}, mean=np.zeros(3))
    recipe = recipe_for(dataset="digits", weights="rgb.pth", mean=mean)
    words = r"`weights` must be .* as many channels as those of digits, 1\. Received: 'rgb\.pth', for 3"
    with pytest.raises(ValueError, match=words):
        normalisation(recipe, load("digits"), rgb)


@pytest.mark.parametrize(("kind", "axes"), [("channel", (0, 1, 2)), ("pixel", 0)])
@pytest.mark.parametrize("shape", [(1,), (8, 8, 1)])
def test_images_keep_the_scale_of_the_weights_with_the_mean_of_the_data(tmp_path, begun, kind, axes, shape):
    info = saving.read_info(small_runs.finished())
    image = keras.Input((8, 8, 1))
    scaled = normalize(image, np.full(shape, 70.0), np.full(shape, 40.0))
    model = find(info["model"])(input_tensor=scaled, **as_choices(info["network"]))
    read(small_runs.finished(), find(info["model"]).spec).assign_to(model)
    saving.save(model, tmp_path / "scaled.keras", info)
    network, _ = begun(weights=str(tmp_path / "scaled.keras"), mean=kind, freeze_until="features")
    expected = load("digits").x_train.mean(axis=axes)
    variables = values(network)
    np.testing.assert_allclose(variables["normalization/mean"].squeeze(), expected.squeeze(), rtol=1e-6)
    np.testing.assert_array_equal(variables["normalization/variance"], np.full(expected.shape, 40.0**2))


def test_weights_do_not_change_a_network_against_its_name(fine_tune):
    """The weights are those of a ResNet-8 of version 1; those of version 2 have other units."""
    with pytest.raises(ValueError, match=r"are for `order='original'`. Received: order='full_preactivation'"):
        fine_tune(model="resnet8v2")
    with pytest.raises(ValueError, match=r"are for `shortcut='B'`. Received: shortcut=None"):
        fine_tune(model="plainnet8")
