"""`HyperResNet` keeps keras-tuner's conventions, its own space has no contradictions, and schedules are followed."""

from __future__ import annotations

import itertools

import keras
import keras_tuner
import numpy as np
import pytest

import keras_resnet
from keras_resnet.models.complexity import count
from keras_resnet.training.recipes import recipe_for
from keras_resnet.tuning.candidates import COST_DIMENSIONS, Bounds
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


@pytest.mark.parametrize("side", [8, 32])
def test_no_two_values_of_its_own_space_contradict_each_other(side):
    """ImageNet's stem would reduce images of 8x8 pixels to nothing."""
    hypermodel = keras_resnet.HyperResNet((side, side, 3))
    rows, bounds = hypermodel.space, Bounds(hypermodel.base, 10, (side, side, 3))
    shape = [row for row in rows.dimensions if row.name in COST_DIMENSIONS | {"stochastic_depth", "zero_init_residual"}]
    for one, other in itertools.combinations(shape, 2):
        for values in itertools.product(one.grid(3), other.grid(3)):
            bounds.check(rows.active({**rows.default(), one.name: values[0], other.name: values[1]}))  # or raises


def test_a_random_search_of_its_own_space_ends(monkeypatch, tmp_path):
    """keras-tuner ends one with an error after three candidates in a row that cannot be built. None is trained here."""

    def only_counted(respec, chosen, *, input_tensor, classes, **_):
        count(respec(**chosen), classes, input_tensor.shape[1:])  # raises where building would
        image = keras.Input((4, 4, 3))
        return keras.Model(image, keras.layers.Flatten()(image))

    monkeypatch.setattr("keras_resnet.models.builder.assemble", only_counted)
    monkeypatch.setattr(keras_resnet.HyperResNet, "fit", lambda *_, **__: {"val_accuracy": 0.5})
    monkeypatch.setattr("gc.collect", lambda *_: 0)  # keras-tuner's call takes a second in each trial
    tuner = keras_tuner.RandomSearch(
        keras_resnet.HyperResNet(), "val_accuracy", max_trials=20, seed=1, directory=tmp_path
    )
    tuner.search(verbose=0)
    assert [trial.status for trial in tuner.oracle.trials.values()] == 20 * ["COMPLETED"]


@pytest.mark.parametrize(
    ("choices", "rates"),
    [
        ({}, [0.1, 0.1, 0.01, 0.001]),
        ({}, [0.1]),
        ({"schedule": "linear", "rise": 0.5}, [0.025, 0.075, 0.075, 0.025]),
    ],
)
def test_the_learning_rate_follows_its_schedule(choices, rates):
    """The papers' steps, divided by 10 after a half and after three quarters; a linear one at an epoch's middle.

    A single epoch, as in Hyperband's shortest trials, has the rate with which it begins.
    """
    rows = space("shape", changes={"units_per_stage": "1,2", "width": "0.25", "shortcut": "B", "learning_rate": "0.1"})
    recipe = recipe_for("paper", dataset="cifar10", **choices)  # its own 64,000 iterations do not apply
    hypermodel, hp = keras_resnet.HyperResNet((8, 8, 1), 3, rows, recipe), keras_tuner.HyperParameters()
    model = hypermodel.build(hp)
    images, labels = np.zeros((4, 8, 8, 1)), np.zeros(4)
    history = hypermodel.fit(hp, model, images, labels, epochs=len(rates), callbacks=None, verbose=0).history
    assert history["learning_rate"] == pytest.approx(rates)


def test_what_it_cannot_do_is_refused():
    with pytest.raises(ValueError, match=r"only `keras-resnet tune` can search. Received: mixup"):
        keras_resnet.HyperResNet(space=space("shape", changes={"mixup": "0,0.2"}))
    dropping = keras_resnet.HyperResNet(space=space("shape", changes={"width": "0.5", "shortcut": "A,B"}))
    hp = keras_tuner.HyperParameters()
    hp.values["shortcut"] = "A"
    with pytest.raises(keras_tuner.errors.FailedTrialError, match="Option A pads channels"):
        dropping.build(hp)
    with pytest.raises(ValueError, match=r"only `keras-resnet tune` can search. Received: .*mixup"):
        keras_resnet.HyperResNet(space="all")
    with pytest.raises(ValueError, match=r"`input_shape` must be three positive integers.*Received: \(None, None, 3\)"):
        keras_resnet.HyperResNet((None, None, 3))
