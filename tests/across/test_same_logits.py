"""The same weights give the same logits on every backend. Run once, since it starts a process a backend."""

import os
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

BACKENDS = ("tensorflow", "jax", "torch")


@pytest.fixture(scope="module")
def logits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logits")
    results = {}
    for backend in BACKENDS:
        path = folder / f"{backend}.npz"
        subprocess.run(
            [sys.executable, Path(__file__).with_name("logits.py"), path],
            env={**os.environ, "KERAS_BACKEND": backend},
            check=True,
        )
        results[backend] = dict(np.load(path))
        assert results[backend].pop("backend") == backend
    return results


@pytest.mark.parametrize(("one", "other"), list(combinations(BACKENDS, 2)))
def test_the_same_weights_give_the_same_logits(logits, one, other):
    assert len(logits[one]) >= 18
    for name, expected in logits[one].items():
        assert 0.1 < np.abs(expected).max() < 100, name
        np.testing.assert_allclose(logits[other][name], expected, atol=1e-5, rtol=0, err_msg=name)
