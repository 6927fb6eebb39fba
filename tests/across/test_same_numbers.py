"""The same weights give the same logits and the same training on every backend.

Run under one backend only, since it starts a process for each.
"""

import os
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

BACKENDS = ("tensorflow", "jax", "torch")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    loaded = {}
    for backend in BACKENDS:
        path = folder / f"{backend}.npz"
        subprocess.run(
            [sys.executable, Path(__file__).with_name("results.py"), path],
            env={**os.environ, "KERAS_BACKEND": backend},
            check=True,
        )
        loaded[backend] = dict(np.load(path))
        assert loaded[backend].pop("backend") == backend
    return loaded


PAIRS = list(combinations(BACKENDS, 2))


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_the_same_weights_give_the_same_logits(results, one, other):
    logits = {name: value for name, value in results[one].items() if not name.startswith("trained/")}
    assert len(logits) >= 18
    for name, expected in logits.items():
        assert 0.1 < np.abs(expected).max() < 100, name
        np.testing.assert_allclose(results[other][name], expected, atol=1e-5, rtol=0, err_msg=name)


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_the_same_steps_of_training_give_the_same_weights(results, one, other):
    """Covers normalisation, augmentation, gradients, decay, momentum, learning rate and batch norm's averages."""
    trained = {name: value for name, value in results[one].items() if name.startswith("trained/")}
    assert len(trained) > 50
    for name, expected in trained.items():
        np.testing.assert_allclose(results[other][name], expected, atol=2e-4, rtol=1e-3, err_msg=name)
