"""Fixtures of the training tests."""

from __future__ import annotations

import signal

import keras
import numpy as np
import pytest

import keras_resnet
import small_runs
from keras_resnet.cli import main
from keras_resnet.data import DATASETS
from keras_resnet.training.interruption import StoppedError
from keras_resnet.training.learning_rate import LearningRate
from keras_resnet.training.recipes import recipe_for
from keras_resnet.training.run import train
from keras_resnet.training.unit_sequence import split_into_units
from pictures import jpeg, photograph


@pytest.fixture(autouse=True)
def few_digits(monkeypatch):
    """Cuts the digits down, so that the steps of every run take a second or two."""
    monkeypatch.setitem(DATASETS, "digits", small_runs.few_digits())


@pytest.fixture
def signal_in(monkeypatch):
    """Returns `small_runs.signal_in`, each call of which replaces the one before and which the test's end undoes."""
    original = LearningRate.on_train_batch_end

    def set_up(*arguments):
        monkeypatch.setattr(LearningRate, "on_train_batch_end", original)
        small_runs.signal_in(*arguments)

    yield set_up
    monkeypatch.setattr(LearningRate, "on_train_batch_end", original)


@pytest.fixture
def stopped_alike(tmp_path, signal_in):
    """Checks that a run stopped after a step and resumed equals an uninterrupted one; returns the latter's folder."""

    def check(recipe, epoch, step):
        whole, stopped = tmp_path / "whole", tmp_path / "stopped"
        train(recipe, whole, say=lambda line: None)
        signal_in(epoch, step, signal.SIGTERM)
        with pytest.raises(StoppedError):
            train(recipe, stopped, say=lambda line: None)
        signal_in(0, 0)
        train(recipe, stopped, say=lambda line: None)
        assert small_runs.results(stopped) == small_runs.results(whole)
        return whole

    return check


@pytest.fixture
def start(signal_in):
    """Starts or resumes the run of `small_runs.finished` by the command; returns its exit status."""
    recipe = small_runs.finished() / "recipe.json"  # made before a signal is set up
    return lambda out: main(["train", "--recipe", str(recipe), "--out", str(out), "--json"])


@pytest.fixture
def stopped_twice(tmp_path, capsys, signal_in, start):
    """Checks that a signal stops a run within an epoch, and after the last step of one when its test has ended."""

    def check(number):
        out = tmp_path / "run"
        before = signal.getsignal(number)
        for moment, name, words in (
            ((2, 2), "epoch_0001_step_000002.keras", "step 2 of epoch 2"),
            ((3, 3), "epoch_0003.keras", "epoch 3"),
        ):
            signal_in(*moment, number)
            capsys.readouterr()
            assert start(out) == 75  # sysexits.h: EX_TEMPFAIL, "a temporary failure; try again"
            last = capsys.readouterr().err.splitlines()[-1]
            assert last.startswith(f"keras-resnet: stopped by {number.name}; the run is saved after {words}.")
            assert last.endswith("Run the same command again to resume.")
            assert max(path.name for path in (out / "checkpoints").iterdir()) == name
            assert [row["epoch"] for row in small_runs.history(out)] == ["1", "2", "3"][: int(name[6:10])]
            assert not (out / "summary.json").exists()
        signal_in(0, 0)
        assert start(out) == 0
        assert "Resuming after epoch 3 of 4." in capsys.readouterr().err
        assert small_runs.results(out) == small_runs.results(small_runs.finished())
        assert signal.getsignal(number) == before

    return check


@pytest.fixture
def fine_tune(tmp_path):
    """Fine-tunes the weights of the small run; returns the run's folder and the lines reported."""

    def run(name="run", machine=None, **choices):
        choices = {"epochs": 1, "batch_size": 32, "weights": str(small_runs.finished()), **choices}
        lines = []
        train(recipe_for("paper", dataset="digits", **choices), tmp_path / name, lines.append, machine)
        return tmp_path / name, lines

    return run


@pytest.fixture
def begun(fine_tune, monkeypatch):
    """As `fine_tune`, but without a step; returns the network that the run begins with, and its folder."""

    def run(**choices):
        networks = []
        small_runs.finished()  # before training is patched away
        monkeypatch.setattr("keras_resnet.training.run.fit", lambda context, built, *_: networks.append(built.model))
        monkeypatch.setattr("keras_resnet.training.run.finish", lambda *_: {})
        out, _ = fine_tune(**choices)
        return networks[0], out

    return run


@pytest.fixture
def a_step_in_units(seeded):
    """Checks that a step of a network split into units, in several ways, equals a step of the intact network.

    Compares all variables, among them the moving averages of batch norm, which a unit that ran twice would move twice.
    """
    images = np.random.default_rng(0).standard_normal((8, 16, 16, 3)).astype("float32")
    labels = np.eye(4, dtype="float32")[np.arange(8) % 4]

    def after_a_step(choices, **ways):
        keras.utils.set_random_seed(0)  # for the same masks
        choices = {"stem": "cifar", "classes": 4, "input_shape": (16, 16, 3), **choices}
        model = seeded(keras_resnet.ResNet((3, 1), (4, 8), **choices))
        trained = split_into_units(model, **ways) if ways else model
        trained.compile(keras.optimizers.SGD(0.1), "categorical_crossentropy")
        loss = trained.train_on_batch(images, labels)
        return {"loss": loss, **{variable.path: np.array(variable) for variable in model.weights}}

    def check(choices, each_of):
        whole = after_a_step(choices)
        tolerance = {"rtol": 0.05, "atol": 0.01} if "dtype" in choices else {"rtol": 1e-4, "atol": 1e-5}
        for ways in each_of:
            split = after_a_step(choices, **ways)
            for variable, value in whole.items():
                np.testing.assert_allclose(split[variable], value, **tolerance, err_msg=f"{ways}: {variable}")

    return check


@pytest.fixture(scope="module")
def album(tmp_path_factory):
    """Folder of 39 training and 17 test photographs of various sizes; one in each split cannot be decoded."""
    folder = tmp_path_factory.mktemp("album")
    for split, count in (("train", 39), ("val", 17)):
        for number in range(count):
            path = folder / split / ("ant", "bee", "cat")[number % 3] / f"{number:02}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(jpeg(photograph(number, 40 + 3 * (number % 7), 44 + 5 * (number % 5))))
        path.write_bytes(b"no image")
    return folder
