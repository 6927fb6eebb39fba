"""Profiles: time is attributed to its cause, and viewers can open the trace."""

from __future__ import annotations

import gzip
import json
import time

import keras
import numpy as np
import pytest

import small_runs
from keras_resnet import backend
from keras_resnet.training.machine import Machine
from keras_resnet.training.profiling import Profile, covered_time, divide
from keras_resnet.training.run import train

STEPS = 12


def test_time_is_covered_once_however_spans_overlap():
    assert covered_time([]) == 0
    assert covered_time([(3, 5), (0, 1), (4, 6), (4, 4.5), (0, 1)]) == 4


def test_waiting_while_the_device_computes_counts_as_device_time():
    assert divide(10, [(0, 2), (5, 7)], [(1, 4)]) == {"input": 3, "device": 3, "host": 4}
    assert divide(1, [], [(0, 2)]) == {"input": 0, "device": 2, "host": 0}  # clocks differ


class Sleep(keras.callbacks.Callback):
    """Sleeps after every step."""

    def __init__(self, seconds):
        super().__init__()
        self.seconds = seconds

    def on_train_batch_end(self, batch, logs=None):
        time.sleep(self.seconds)


def profiled(folder, width=4, wait=0.0, sleep=0.0, steps=STEPS):
    """Profiles a fit with slow input or a slow host; returns the lines reported and the path of profile.json."""
    keras.utils.set_random_seed(0)
    image = keras.Input((width,))
    model = keras.Model(image, keras.layers.Dense(width)(keras.layers.Dense(width)(image)))
    model.compile(keras.optimizers.SGD(1e-6), "mse")
    images = np.ones((width, width), "float32")

    def batches():
        while True:
            time.sleep(wait)
            yield images, images

    lines = []
    profile = Profile(folder, lines.append)
    fed = backend.mark_waiting(batches())
    model.fit(fed, steps_per_epoch=steps, epochs=20 // steps + 1, verbose=0, callbacks=[Sleep(sleep), profile])
    profile.end()
    return lines, folder / "profile.json"


@pytest.mark.parametrize(
    ("part", "slow"), [("input", {"wait": 0.03}), ("host", {"sleep": 0.03}), ("device", {"width": 1000})]
)
def test_the_slow_part_is_reported(part, slow, tmp_path):
    lines, written = profiled(tmp_path, **slow)
    profile = json.loads(written.read_text())
    parts = {name: profile[name] for name in ("input", "device", "host")}
    assert max(parts, key=parts.get) == part, parts
    assert sum(parts.values()) == pytest.approx(profile["seconds"], rel=0.1)
    assert profile["steps"] == STEPS - 1
    if part != "device":
        assert parts[part] >= 0.03 * (STEPS - 2)
    assert f"{part} {1000 * parts[part] / (STEPS - 1):.1f} ms ({parts[part] / profile['seconds']:.0%})" in lines[0]


def test_the_trace_can_be_opened_as_reported(tmp_path):
    lines, _ = profiled(tmp_path)
    path = lines[1].removeprefix("To open the trace: ").split(" in ")[0]
    if keras.backend.backend() == "tensorflow":
        from tensorflow.tsl.profiler.protobuf import xplane_pb2

        (file,) = tmp_path.glob("plugins/profile/*/*.xplane.pb")
        assert "/host:CPU" in [plane.name for plane in xplane_pb2.XSpace.FromString(file.read_bytes()).planes]
        assert lines[1] == f"To open the trace: tensorboard --logdir {tmp_path}, with its profile plugin."
    else:
        with (gzip.open if path.endswith(".gz") else open)(path) as file:
            events = json.load(file)["traceEvents"]
        assert "wait for images" in {event.get("name") for event in events}


def test_a_run_leaves_its_profile_in_its_folder(few_digits, tmp_path):
    lines = []
    train(small_runs.small_recipe(epochs=6), tmp_path / "run", lines.append, Machine(profile=True))
    assert [line for line in lines if "ms per step, over 2 steps: input" in line]
    assert json.loads((tmp_path / "run/profile/profile.json").read_text())["steps"] == 2


def test_a_run_that_is_too_short_to_trace_says_so(tmp_path):
    lines, written = profiled(tmp_path, steps=1)
    assert lines == ["No profile: the run is too short. It needs 10 steps, then an epoch of at least 2."]
    assert not written.exists()
