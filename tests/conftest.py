"""The environment of all tests, and fixtures for any of them."""

from __future__ import annotations

import gc
import hashlib
import os
import platform
import sys
import tempfile
import time
import tracemalloc  # noqa: F401  # pytest imports it if a finalizer fails, but cannot while tensorflow-datasets is imported
from pathlib import Path

import numpy as np
import pytest

from keras_resnet.backend import environment, import_blocker

# On processors: tests compare numbers to five decimal places, create virtual devices, and cannot share a GPU.
on_processors = {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
# The same environment as the command has, since tests compare its results with their own.
for variable, value in {**on_processors, **environment()}.items():
    os.environ.setdefault(variable, value)
if engine := os.environ.get("KERAS_BACKEND"):
    # Otherwise Keras imports TensorFlow on the other backends too, which takes eight seconds in each process of JAX.
    import_blocker.block_imports(engine)

WORKER = os.environ.get("PYTEST_XDIST_WORKER")  # "gw0", "gw1", ... of `pytest -n`
if WORKER is None:
    # A folder that all test processes share, see `small_runs.finished`.
    _SHARED = tempfile.TemporaryDirectory(prefix="keras_resnet-tests-")
    os.environ["KERAS_RESNET_TESTS"] = _SHARED.name
    # Compilation takes two thirds of JAX's time. So it compiles with little optimization, in this process and its
    # subprocesses, and compiled programs are cached for a week, separately for each kind of processor.
    _ABOUT = Path("/proc/cpuinfo")
    _LINES = _ABOUT.read_text().splitlines() if _ABOUT.exists() else []
    _PROCESSOR = {line for line in _LINES if line.startswith("flags")}
    _KIND = hashlib.sha256(" ".join([platform.node(), *_PROCESSOR]).encode()).hexdigest()[:12]
    _JAX_CACHE = Path(__file__).resolve().parents[1] / ".pytest_cache" / f"jax-{_KIND}"
    _JAX_CACHE.mkdir(parents=True, exist_ok=True)
    for path in _JAX_CACHE.iterdir():
        if path.is_file() and path.stat().st_mtime < time.time() - 7 * 24 * 60 * 60:
            path.unlink(missing_ok=True)
    _QUICKLY = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
    _QUICKLY += " --xla_cpu_parallel_codegen_split_count=1"  # each worker has one core
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_QUICKLY}".strip()
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(_JAX_CACHE)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
elif hasattr(os, "sched_setaffinity"):
    # One core per worker, before a backend counts them: tests are mostly Python, and threads on all cores compete.
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(WORKER.removeprefix("gw")) % len(cores)]})

TESTS = Path(__file__).resolve().parent
# The slowest files run first: each runs in one process, and at the end no process should wait long for another.
LONGEST = (
    "across/test_distributed_search.py",
    "across/test_same_numbers.py",
    "training/test_devices.py",
    "training/test_transfer.py",
    "models/test_fast_layers.py",
    "models/test_variants.py",
    "exporting/once/test_formats.py",
    "exporting/once/test_saved_model.py",
    "training/once/test_kills.py",
    "training/test_unit_sequence.py",
    "training/test_executions.py",
    "test_backend.py",
    "exporting/test_export.py",
)
SLOW = {"training", "models", "weights", "tuning", "experiments", "exporting", "examples"}
SHARED = TESTS.parents[1] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference material beside the project; if it exists, `all_backends.py` counts skips as failures."""
    if not SHARED.is_dir():
        pytest.skip("../shared is absent")
    return SHARED


def pytest_collection_modifyitems(items):
    """Sorts the slowest files first, then the rooms whose files take minutes."""

    def turn(item):
        path = item.path.relative_to(TESTS)
        place = LONGEST.index(path.as_posix()) if path.as_posix() in LONGEST else len(LONGEST)
        return place, not SLOW & set(path.parts)

    items.sort(key=turn)


def pytest_collection_finish():
    """Excludes all that is imported so far from garbage collection, which saves seconds in every minute."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def _clean_session():
    """Resets Keras's layer names after each file, without freeing memory, which takes a third of a second.

    Not after each test, since TensorFlow would create all its kernels again.
    """
    yield
    if "keras" in sys.modules:
        sys.modules["keras"].utils.clear_session(free_memory=False)


@pytest.fixture
def seeded():
    """Sets a model's weights to values that depend only on names and shapes, with no statistic at its default."""

    def fill(model, seed: int = 0):
        for variable in model.variables:
            if "seed_generator" in variable.path:
                continue
            name = variable.path.rsplit("/", 1)[-1]
            rng = np.random.default_rng([seed, *variable.path.split("/", 1)[-1].encode(), *variable.path.encode()])
            value = rng.standard_normal(variable.shape)
            if name == "moving_variance":
                value = 1 + 0.2 * np.abs(value)
            elif name in ("moving_mean", "beta", "bias"):
                value = 0.1 * value
            elif name == "gamma":
                value = 0.5 + 0.1 * value
            elif name == "kernel":
                value = value * np.sqrt(2 / np.prod(variable.shape[:-1]))
            variable.assign(value.astype("float32"))
        return model

    return fill
