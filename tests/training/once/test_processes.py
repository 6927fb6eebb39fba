"""Runs side by side share a machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import pytest

from keras_resnet.training import processes
from keras_resnet.training.processes import Processes


@pytest.mark.parametrize(
    ("visible", "workers", "expected"),
    [("", 2, [None, None]), ("0,2", 2, ["0", "2"]), ("0,2", 3, ["0", "2", "0"]), ("0,2", 1, ["0,2"])],
)
def test_each_worker_has_a_gpu(monkeypatch, visible, workers, expected):
    """By the variable that every engine heeds; None where there is no GPU to name. None takes all of its memory."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    memory = "XLA_PYTHON_CLIENT_PREALLOCATE", "TF_FORCE_GPU_ALLOW_GROWTH"  # as JAX's and TensorFlow's guides call them
    for name in memory:
        monkeypatch.delenv(name, raising=False)
    started, shared = [], set()

    class Process:
        returncode = 0

        def __init__(self, words, *, env, **_):
            started.append(env["CUDA_VISIBLE_DEVICES"] or None)
            shared.add(tuple(map(env.get, memory)))

        def communicate(self):
            return "", ""

    monkeypatch.setattr("subprocess.Popen", Process)
    monkeypatch.setattr(processes, "_core_sets", lambda _: [])
    running = Processes(workers)
    for _ in range(workers):
        running.run(["train"])
    assert started == expected
    assert shared == {("false", "true") if visible and workers > 1 else (None, None)}


LAUNCHES = [  # as torchrun, Keras, JAX, Slurm, Open MPI and Kubernetes document them
    {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "1"},
    {
        "KERAS_DISTRIBUTION_JOB_ADDRESSES": "10.0.0.1:1",
        "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
        "KERAS_DISTRIBUTION_PROCESS_ID": "1",
    },
    {"JAX_COORDINATOR_ADDRESS": "10.0.0.1:1"},
    {"SLURM_JOB_ID": "1", "SLURM_STEP_NODELIST": "n[1-2]", "SLURM_NTASKS": "2", "SLURM_PROCID": "1"},
    {"OMPI_COMM_WORLD_SIZE": "2"},
    {"JOB_COMPLETION_INDEX": "1"},
    {"TF_CONFIG": json.dumps({"cluster": {"worker": ["10.0.0.1:1", "10.0.0.2:1"]}})},
]
# Has the engines say of each environment whether it is that of one process of several.
SEVERAL = """
import importlib.util, json, os, sys
from importlib.machinery import ModuleSpec
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: ModuleSpec(name, None) if name == "kubernetes" else found(name, *rest)
from keras_resnet.backend.devices import torchrun_processes
from keras_resnet.backend.jax_devices import launched
from keras_resnet.backend.tensorflow_devices import _workers
said, begun = [], dict(os.environ)
for launch in json.load(sys.stdin):
    os.environ.clear()
    os.environ.update({**begun, **launch})
    said.append(launched() or torchrun_processes() > 1 or _workers() > 1)
print(json.dumps(said))
"""


def test_a_run_is_none_of_the_several_that_this_process_is_one_of(monkeypatch):
    """Workers of a search are several, their trials are not."""
    given = []

    class Process:
        returncode = 0

        def __init__(self, words, *, env, **_):
            given.append(env)

        def communicate(self):
            return "", ""

    for launch in LAUNCHES:
        for name, value in launch.items():
            monkeypatch.setenv(name, value)
    around = dict(os.environ)
    with monkeypatch.context() as patch:
        patch.setattr("subprocess.Popen", Process)
        Processes(1).run(["train"])
    (inner,) = given
    assert inner["PATH"] == around["PATH"]
    asked = [sys.executable, "-c", SEVERAL]
    done = subprocess.run(asked, input=json.dumps([{}, *LAUNCHES]), env=inner, capture_output=True, text=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [False, *[True] * len(LAUNCHES)], done.stderr


@pytest.mark.parametrize(("cores", "workers", "each"), [(2, 2, [1, 1]), (7, 2, [4, 3]), (8, 1, [8]), (1, 2, [1, 1])])
def test_each_worker_has_its_share_of_the_cores(monkeypatch, cores, workers, each):
    """What a run sees for itself; where there are too few, all share all."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
    given = []
    monkeypatch.setattr("os.sched_setaffinity", lambda _, some: given.append(some))
    monkeypatch.setattr(sys, "executable", "true")
    running = Processes(workers)
    for _ in range(workers):
        running.run([])
    assert [len(some) for some in given] == (each if 1 < workers <= cores else [])
    assert len(set().union(*given)) == sum(map(len, given))  # no core twice


def test_who_has_nothing_to_do_takes_the_next_run():
    """And not who is named by turns, who may still be busy while another has none."""
    running, at_once, seen = Processes(2), threading.Barrier(2, timeout=20), []

    def run(words, worker, _):
        if words[0] in ("slow", "first"):
            at_once.wait()
        if words[0] == "slow":
            done.wait(20)
        seen.append((words[0], worker))

    running._run, done = run, threading.Event()
    slow = threading.Thread(target=running.run, args=(["slow"],))
    slow.start()
    for name in ("first", "second", "third"):
        running.run([name])
    done.set()
    slow.join()
    assert len({worker for name, worker in seen if name != "slow"}) == 1
    assert len({worker for _, worker in seen}) == 2
