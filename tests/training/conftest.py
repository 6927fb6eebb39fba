"""What the tests of training share."""

from __future__ import annotations

import signal

import pytest

import small_runs
from keras_resnet.data import DATASETS
from keras_resnet.training.interruption import StoppedError
from keras_resnet.training.learning_rate import LearningRate
from keras_resnet.training.run import train


@pytest.fixture(autouse=True)
def few_digits(monkeypatch):
    """Every run in here takes a second or two of steps: the digits are few."""
    monkeypatch.setitem(DATASETS, "digits", small_runs.few_digits())


@pytest.fixture
def signal_in(monkeypatch):
    """As `small_runs.signal_in`, once at a time, and for this test alone."""
    original = LearningRate.on_train_batch_end

    def set_up(*arguments):
        monkeypatch.setattr(LearningRate, "on_train_batch_end", original)
        small_runs.signal_in(*arguments)

    yield set_up
    monkeypatch.setattr(LearningRate, "on_train_batch_end", original)


@pytest.fixture
def stopped_alike(tmp_path, signal_in):
    """Trains whole, and again with a stop behind a step; both come to the same. Returns the folder of the first."""

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
