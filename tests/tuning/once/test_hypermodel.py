"""`HyperResNet` keeps keras-tuner's conventions: name scopes, overridden hyperparameters, the search for conditions."""

from __future__ import annotations

import keras
import keras_tuner
import numpy as np
import pytest

import keras_resnet
from keras_resnet.tuning.space import space

NETWORK = space("network", changes={"units_per_stage": "1,2"})


class Counting(keras_resnet.HyperResNet):
    """Builds nothing that takes time, and records the recipes of the networks that it is asked for."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.recipes = []

    def build(self, hp):
        self.recipes.append(self.recipe(hp))
        return super().build(hp)


def random_search(hypermodel, folder, **choices):
    tuner = keras_tuner.RandomSearch(hypermodel, "val_accuracy", max_trials=30, seed=1, directory=folder, **choices)
    tuner.oracle.verbose = 0
    return tuner


def proposals(tuner, number=12):
    """Returns the values of trials, without running them."""
    return [tuner.oracle.create_trial(f"worker{worker}").hyperparameters for worker in range(number)]


def test_keras_tuner_finds_every_dimension_by_building_one_network(tmp_path):
    """keras-tuner builds another network for each condition that it has not seen satisfied."""
    hypermodel = Counting((16, 16, 1), 3, NETWORK)
    tuner = random_search(hypermodel, tmp_path)
    assert len(hypermodel.recipes) == 1
    assert {hp.name for hp in tuner.oracle.get_space().space} == {row.name for row in NETWORK.dimensions}
    skips = {hp.values.get("skip") for hp in proposals(tuner, 20)}
    assert None in skips and len(skips) >= 4  # those of option C are inactive


def test_dimensions_in_a_name_scope_are_searched():
    """Without an error, the default network would be built whatever the values."""
    hypermodel, hp = keras_resnet.HyperResNet((16, 16, 1), 3, NETWORK), keras_tuner.HyperParameters()
    hp.values.update({"net/order": "full_preactivation", "net/skip": "constant_scaling", "net/shortcut_scale": 0.7})
    with hp.name_scope("net"):
        recipe = hypermodel.recipe(hp)
    assert recipe.network["order"] == "full_preactivation"
    assert (recipe.network["skip"], recipe.network["shortcut_scale"]) == ("constant_scaling", 0.7)
    assert {name.split("/")[0] for name in hp.values} == {"net"}


def test_a_conditional_dimension_can_be_overridden_like_any_other(tmp_path):
    """Its children depend on the value given; keras-tuner would prefer a second entry with a condition."""
    given = keras_tuner.HyperParameters()
    given.Fixed("skip", "exclusive_gating")
    given.Choice("width", [1.0, 2.0])
    given.Boolean("zero_init_residual", default=True)
    hypermodel = keras_resnet.HyperResNet((16, 16, 1), 3, NETWORK)
    tuner = random_search(hypermodel, tmp_path, hyperparameters=given)
    seen = set()
    for hp in proposals(tuner):
        recipe = hypermodel.recipe(hp)
        assert -8 <= hp.get("gate_bias") <= 0
        assert recipe.network["width"] in (1.0, 2.0)
        seen.add((recipe.network["shortcut"], recipe.network.get("skip")))
    assert seen == {("A", "exclusive_gating"), ("B", "exclusive_gating"), ("C", None)}
    names = [hp.name for hp in tuner.oracle.get_space().space]
    assert len(names) == len(set(names))


def test_dimensions_that_are_not_searched_have_the_papers_values(tmp_path):
    given = keras_tuner.HyperParameters()
    given.Float("learning_rate", 0.01, 0.1, sampling="log")
    tuner = random_search(
        keras_resnet.HyperResNet(), tmp_path, hyperparameters=given, tune_new_entries=False, overwrite=True
    )
    recipes = [tuner.hypermodel.recipe(hp) for hp in proposals(tuner, 3)]
    assert len({recipe.learning_rate for recipe in recipes}) == 3
    assert {(recipe.model, recipe.network["shortcut"], recipe.batch_size) for recipe in recipes} == {
        ("resnet20", "A", 128)
    }


def test_a_space_whose_defaults_contradict_each_other_can_be_searched(tmp_path):
    """keras-tuner builds the default before any trial, and an error there would end the program."""
    rows = space("shape", changes={"units_per_stage": "1,2", "width": "0.25,0.5", "shortcut": "A,B"})
    hypermodel = Counting((8, 8, 1), 3, rows)
    random_search(hypermodel, tmp_path)
    assert [(recipe.network["width"], recipe.network["shortcut"]) for recipe in hypermodel.recipes] == [(0.25, "B")]
    impossible = space("shape", changes={"units_per_stage": "1,2", "width": "0.5", "shortcut": "A"})
    with pytest.raises(ValueError, match="Option A pads channels"):
        keras_resnet.HyperResNet(space=impossible)


@pytest.mark.parametrize("mean", [100, np.float32(100), [100, 100, 100], np.full(3, 100, np.float32)], ids=repr)
def test_the_mean_is_subtracted_of_whatever_type_it_is(mean):
    """The mean of an array of float32 is no float of Python."""
    rows = space("shape", changes={"units_per_stage": "1,2", "width": "0.25", "shortcut": "B"})
    model = keras_resnet.HyperResNet((8, 8, 3), 3, rows, mean=mean).build(keras_tuner.HyperParameters())
    normalised = keras.Model(model.input, model.get_layer("normalization").output)
    assert np.all(normalised.predict(np.full((1, 8, 8, 3), 30.0), verbose=0) == -70)
