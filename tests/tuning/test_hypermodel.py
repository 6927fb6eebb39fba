"""`HyperResNet` can replace keras-tuner's own."""

from __future__ import annotations

import itertools

import keras
import keras_tuner
import numpy as np
import pytest

import facts
import keras_resnet
from keras_resnet.models.complexity import count
from keras_resnet.training.recipes import recipe_for
from keras_resnet.tuning.candidates import COST_DIMENSIONS, Bounds
from keras_resnet.tuning.space import space


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_its_default_is_the_papers_network_and_optimizer(data_format):
    """Whatever data format Keras is set to: its images are (height, width, channels)."""
    keras.config.set_image_data_format(data_format)
    try:
        model = keras_resnet.HyperResNet().build(keras_tuner.HyperParameters())
    finally:
        keras.config.set_image_data_format("channels_last")
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert trainable == facts.CIFAR_PARAMETERS[20]["v1_A"]
    assert model.optimizer.coupled_decay == 1e-4
    assert float(model.optimizer.learning_rate) == pytest.approx(0.1)
    assert model.get_layer("stage3_unit3_add").output.shape[1:] == (8, 8, 64)  # keras-tuner's would be 1x1


def test_keras_tuner_searches_with_it_and_loads_the_best(tmp_path):
    rows = space("shape", changes={"units_per_stage": "1", "width": "0.25", "shortcut": "B,C", "batch_size": "16,32"})
    hypermodel = keras_resnet.HyperResNet((8, 8, 1), 3, rows)
    tuner = keras_tuner.RandomSearch(hypermodel, "val_accuracy", max_trials=1, seed=1, directory=tmp_path)
    rng = np.random.default_rng(0)
    images, labels = rng.uniform(0, 255, (48, 8, 8, 1)), rng.integers(0, 3, 48)
    tuner.search(images, labels, validation_data=(images, labels), epochs=2, verbose=0)
    (model,) = tuner.get_best_models()
    accuracy = (np.asarray(model.predict(images, verbose=0)).argmax(axis=1) == labels).mean()
    (best,) = tuner.oracle.get_best_trials()
    assert best.status == "COMPLETED"
    assert accuracy == pytest.approx(best.score, abs=0.03)


@pytest.mark.parametrize("side", [8, 32])
def test_no_two_values_of_its_own_space_contradict_each_other(side):
    """ImageNet's stem would reduce images of 8x8 pixels to nothing."""
    hypermodel = keras_resnet.HyperResNet((side, side, 3))
    rows, bounds = hypermodel.space, Bounds(hypermodel.base, 10, (side, side, 3))
    shape = [row for row in rows.dimensions if row.name in COST_DIMENSIONS | {"stochastic_depth", "zero_init_residual"}]
    for one, other in itertools.combinations(shape, 2):
        for values in itertools.product(one.grid(3), other.grid(3)):
            bounds.count(rows.active({**rows.default(), one.name: values[0], other.name: values[1]}))  # or raises


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
