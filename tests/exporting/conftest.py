"""A network for photographs, exported once per backend, and photographs for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet import saving
from keras_resnet.data import read_center
from keras_resnet.preprocessing import normalize
from pictures import photograph

PROGRAM = Path(__file__).resolve().parents[1] / "saved_models.py"
VIEW = {"size": 64, "resize": 73}
NAMES = ["tench", "English springer", "Tüte", "chain saw", "church", "horn", "truck", "pump", "ball", "parachute"]


@pytest.fixture(scope="session")
def network():
    """A network with clearly different probabilities, and the description of it."""
    image = keras.Input((64, 64, 3))
    inside = normalize(image, [124.0, 117.0, 104.0], [58.0, 57.0, 57.0])
    model = keras_resnet.ResNet18(input_tensor=inside, classes=10, width=0.125, shortcut="B")
    rng = np.random.default_rng(3)
    for variable in model.variables:  # the same on every backend
        if variable.path.endswith("kernel"):
            variable.assign(rng.normal(0, np.sqrt(2 / np.prod(variable.shape[:-1])), variable.shape))
        elif variable.path.endswith(("moving_mean", "beta")):
            variable.assign(rng.normal(0, 0.2, variable.shape))
        elif variable.path.endswith(("moving_variance", "gamma")) and "normalization/" not in variable.path:
            variable.assign(rng.uniform(0.7, 1.4, variable.shape))
    logits, images = model.get_layer("logits"), np.stack([photograph(seed, 64, 64) for seed in range(12)])
    pooled = np.asarray(
        keras.ops.convert_to_numpy(keras_resnet.features(model, ["pooled"])(images.astype("float32"))["pooled"])
    )
    kernel = rng.normal(0, 2 / np.linalg.norm(pooled.std(axis=0)), logits.kernel.shape)
    logits.kernel.assign(kernel)
    logits.bias.assign(-pooled.mean(axis=0) @ kernel)  # otherwise all images would be of the same class
    return model, {"model": "resnet18", "class_names": NAMES, "view": VIEW, "test_error": 12.5, "dataset": "ten"}


@pytest.fixture(scope="session")
def file(network, tmp_path_factory):
    """The network as a file."""
    path = tmp_path_factory.mktemp("network") / "model.keras"
    saving.save(network[0], path, network[1])
    return path


@pytest.fixture(scope="session")
def served(file, tmp_path_factory):
    """The folder of the first version of the exported network."""
    out = tmp_path_factory.mktemp("served") / "ten"
    keras_resnet.export(file, out, warm_up=(1, 2))
    return out / "1"


@pytest.fixture(scope="session")
def photographs(shared):
    """Files of real photographs."""
    return sorted((shared / "data/imagenet_sample").glob("*.JPEG"))[:12]


@pytest.fixture(scope="session")
def expected(network, photographs):
    """The photographs as arrays, and the network's probabilities for them in this process."""
    images = np.stack([read_center(path, **VIEW) for path in photographs])
    probabilities = keras.ops.convert_to_numpy(network[0](images.astype("float32")))
    # The network must be confident, and predict more than two classes.
    assert probabilities.max(axis=1).mean() > 0.4 and len(set(probabilities.argmax(axis=1))) > 2
    return images, probabilities


@pytest.fixture(scope="session")
def orange():
    """A PNG file."""
    return cv2.imencode(".png", np.full((70, 90, 3), (0, 128, 255), np.uint8))[1].tobytes()


@pytest.fixture
def ask(tmp_path):
    """Runs a SavedModel's signatures in a separate program; inputs are passed as signature__input."""

    def answers(folder, **inputs):
        np.savez(tmp_path / "in.npz", **{name.replace("__", "/"): value for name, value in inputs.items()})
        words = [sys.executable, str(PROGRAM), str(folder), str(tmp_path / "in.npz"), str(tmp_path / "out.npz")]
        # TensorFlow imports Keras, and so the backend that is chosen: for CUDA's Torch, without a GPU, this may crash.
        environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
        done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=environment)
        assert done.returncode == 0, done.stderr[-2000:]
        return np.load(tmp_path / "out.npz")

    return answers
