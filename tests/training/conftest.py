"""What the tests of training share."""

from __future__ import annotations

import pytest

import small_runs
from keras_resnet.data import DATASETS


@pytest.fixture(autouse=True)
def few_digits(monkeypatch):
    """Every run in here takes a second or two of steps: the digits are few."""
    monkeypatch.setitem(DATASETS, "digits", small_runs.few_digits())
