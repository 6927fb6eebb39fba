"""What the tests of training share."""

from __future__ import annotations

import pytest

import small_runs
from keras_resnet.data import DATASETS
from keras_resnet.training.learning_rate import LearningRate


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
