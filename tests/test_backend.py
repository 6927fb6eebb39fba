"""The backend is selected before Keras is imported, and no other one is needed."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import pytest

import small_runs
from keras_resnet import backend

RUNNING = keras.backend.backend()
TESTS = Path(__file__).resolve().parent


@pytest.fixture
def before_keras(monkeypatch):
    """Simulates a process that has not imported Keras; returns a function that makes only some modules installed."""
    find_spec = importlib.util.find_spec

    def install(*modules):
        def find(name, *args):
            return (name in modules or None) if name in backend.BACKENDS else find_spec(name, *args)

        monkeypatch.setattr(importlib.util, "find_spec", find)

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.delitem(sys.modules, "keras")
    for module in backend.BACKENDS:
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setenv("KERAS_BACKEND", "")  # so that monkeypatch restores it, whatever is set meanwhile
    monkeypatch.delenv("KERAS_BACKEND")
    return install


def test_the_first_backend_that_is_installed_is_selected(before_keras):
    before_keras("jax", "torch")
    assert backend.select_backend() == "jax"
    assert os.environ["KERAS_BACKEND"] == "jax"


def test_a_choice_takes_precedence_over_the_environment_and_that_over_what_is_installed(before_keras, monkeypatch):
    before_keras("tensorflow", "jax", "torch")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert backend.select_backend() == "torch"
    assert backend.select_backend("jax") == "jax"
    assert os.environ["KERAS_BACKEND"] == "jax"


@pytest.mark.parametrize(("machine", "value"), [("x86_64", "1"), ("AMD64", "1"), ("aarch64", None)])
def test_tensorflow_uses_onednn_on_the_processors_where_that_pays(before_keras, monkeypatch, machine, value):
    before_keras("jax")
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "")
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    backend.select_backend()
    assert os.environ.get("TF_ENABLE_ONEDNN_OPTS") == value
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    backend.select_backend()
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "0"


def test_a_backend_that_is_unknown_or_not_installed_is_refused_with_what_would_work(before_keras, monkeypatch):
    before_keras("jax")
    with pytest.raises(ValueError, match=r"'mxnet'\. Accepted: tensorflow, jax, torch"):
        backend.select_backend("mxnet")
    with pytest.raises(ValueError, match=r"'torch' is not installed: pip install '\.\[torch\]' in a checkout"):
        backend.select_backend("torch")
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    with pytest.raises(ValueError, match=r"'theano' in the environment variable KERAS_BACKEND\. Accepted"):
        backend.select_backend()
    assert os.environ["KERAS_BACKEND"] == "theano"


def test_without_any_backend_the_error_says_how_to_install_one(before_keras):
    before_keras()
    with pytest.raises(ValueError, match=r"pip install '\.\[tensorflow\]', or \[jax\], or \[torch\] in a checkout"):
        backend.select_backend()


def test_another_backend_than_the_one_that_keras_runs_on_is_refused():
    other = next(name for name in backend.BACKENDS if name != RUNNING)
    with pytest.raises(ValueError, match=f"already runs on {RUNNING!r} in this process. Received: {other!r}"):
        backend.select_backend(other)
    assert backend.select_backend(RUNNING) == RUNNING


def test_without_a_choice_the_backend_that_keras_runs_on_is_selected(monkeypatch):
    """Keras may have read it from its own configuration file."""
    monkeypatch.setenv("KERAS_BACKEND", "")
    assert backend.select_backend() == os.environ["KERAS_BACKEND"] == RUNNING


def test_device_and_versions_describe_this_machine():
    versions = backend.versions()
    assert versions["keras"] == keras.__version__
    assert versions[RUNNING][0].isdigit()
    assert set(versions) == {"keras_resnet", "keras", RUNNING, "numpy", "python"}
    assert backend.device().startswith("CPU (") == (not backend._engine().accelerators())


def test_accelerators_are_described_with_the_number_that_a_run_used(monkeypatch):
    monkeypatch.setattr(backend._engine(), "accelerators", lambda: ["A GPU"] * 4)
    assert (backend.device(), backend.device(2)) == ("4 x A GPU", "2 x A GPU")


def test_a_gpu_that_the_backend_does_not_use_comes_with_a_hint_how_to(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    output = SimpleNamespace(stdout="GPU 0: NVIDIA H200 (UUID: GPU-1)\n")
    monkeypatch.setattr("subprocess.run", lambda *_, **__: output)
    remedy = "torch.cuda.is_available()" if RUNNING == "torch" else f"pip install '.[{RUNNING}-cuda]'"
    assert remedy in backend.unused_gpu_hint()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")  # how a user disables all GPUs
    assert backend.unused_gpu_hint() == ""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(backend._engine(), "accelerators", lambda: ["NVIDIA H200"])
    assert backend.unused_gpu_hint() == ""
    monkeypatch.undo()
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert backend.unused_gpu_hint() == ""


if RUNNING == "torch":  # on the others, `keras.device` does not decide where everything is computed
    import torch

    def test_torch_names_gpus_only_if_keras_uses_them(monkeypatch):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"GPU {number}")
        with keras.device("cpu"):
            assert backend.device().startswith("CPU (")
        with keras.device("gpu:0"):
            assert backend.device() == "2 x GPU 0"


START = """
import sys
from keras_resnet import backend
backend.select_backend()
import keras
keras.utils.set_random_seed(1)
keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]).save(sys.argv[1])
print(*sorted({"tensorflow", "jax", "torch", "sklearn", "matplotlib", "pandas", "IPython"} & set(sys.modules)))
import importlib.util
assert all(map(importlib.util.find_spec, ("matplotlib", "sklearn", "tensorflow")))  # other importers still get them
"""


def test_selecting_a_backend_blocks_imports_that_keras_does_not_need(tmp_path):
    environment = {**os.environ, "KERAS_BACKEND": RUNNING}
    done = subprocess.run(
        [sys.executable, "-c", START, tmp_path / "model.keras"], env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, f"{RUNNING}\n"), done.stderr


def test_a_process_that_has_imported_keras_keeps_its_imports():
    before = [*sys.meta_path]
    backend.select_backend()
    assert sys.meta_path == before


ALONE = """
import sys

class Absent:
    \"\"\"Makes the other backends look absent.\"\"\"
    asked = []

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in OTHERS:
            self.asked.append(name)
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

import importlib.util
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *args: None if name.partition(".")[0] in OTHERS else find_spec(name, *args)
sys.meta_path.insert(0, Absent())

import keras_resnet.backend
keras_resnet.backend.select_backend()
import keras
keras_resnet.ResNet20
assert "tensorflow" not in Absent.asked  # where it is installed, it would have been imported
"""
RUN = """
import json
from pathlib import Path
from types import SimpleNamespace
import small_runs
small_runs.take_few_digits()
from keras_resnet.cli import main

network = ["--model", "resnet8", "--stage-units", "1,1", "--stage-filters", "4,8", "--shortcut", "B"]
train = ["train", "digits", *network, "--epochs", "2", "--out", "run"]
assert main(train) == 0
first = small_runs.results(Path("run"))
for name in ("summary.json", "model.keras", "checkpoints/epoch_0002.keras"):
    (Path("run") / name).unlink()
assert main(train) == 0
assert small_runs.results(Path("run")) == first
assert main(["evaluate", "run", "digits"]) == 0
import numpy as np
np.save("image.npy", np.zeros((8, 8, 1), np.uint8))
assert main(["predict", "run", "image.npy"]) == 0
assert not set(OTHERS) & set(sys.modules)
"""


def test_everything_works_without_the_other_backends_and_importing_does_not_need_tensorflow(tmp_path):
    """Training, exact resuming, testing and predicting; on JAX and Torch, without TensorFlow."""
    others = [name for name in backend.BACKENDS if name != RUNNING]
    environment = {**os.environ, "KERAS_BACKEND": RUNNING, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"}
    done = subprocess.run(
        [sys.executable, "-c", f"OTHERS = {json.dumps(others)}\n{ALONE}{RUN}"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    trains = f"Training on {backend.device()}.\n"
    assert done.stderr == f"{trains}Resuming after epoch 1 of 2.\n{trains}"  # nothing of what libraries say
    assert f"{small_runs.TESTED} images" in done.stdout
    assert "image.npy[0]: " in done.stdout
