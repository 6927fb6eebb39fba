"""Parallel runs share the devices and cores of a machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
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
    """By the variable that all engines read; None if there is no GPU to name. No worker allocates all memory."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    memory = "XLA_PYTHON_CLIENT_PREALLOCATE", "TF_FORCE_GPU_ALLOW_GROWTH"  # from the guides of JAX and TensorFlow
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
# Prints for each environment whether the engines take it for that of one of several processes.
SEVERAL = """
import importlib.util, json, os, sys
from importlib.machinery import ModuleSpec
from unittest.mock import Mock
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: (
    ModuleSpec(name, None) if name == "kubernetes" else find_spec(name, *rest)
)
from keras_resnet.backend import select_backend
select_backend("jax")
from keras_resnet.backend.devices import torchrun_processes
from keras_resnet.backend.jax_devices import launched
sys.modules["tensorflow"] = Mock()  # which takes seconds to import, and is not asked
from keras_resnet.backend.tensorflow_devices import _workers
answers, environment = [], dict(os.environ)
for launch in json.load(sys.stdin):
    os.environ.clear()
    os.environ.update({**environment, **launch})
    answers.append(launched() or torchrun_processes() > 1 or _workers() > 1)
print(json.dumps(answers))
"""


def test_a_run_does_not_join_the_launch_of_this_process(monkeypatch):
    """The workers of a search may be one launch, but each trial trains alone."""
    environments = []

    class Process:
        returncode = 0

        def __init__(self, words, *, env, **_):
            environments.append(env)

        def communicate(self):
            return "", ""

    for launch in LAUNCHES:
        for name, value in launch.items():
            monkeypatch.setenv(name, value)
    outer = dict(os.environ)
    with monkeypatch.context() as patch:
        patch.setattr("subprocess.Popen", Process)
        Processes(1).run(["train"])
    (inner,) = environments
    assert inner["PATH"] == outer["PATH"]
    command = [sys.executable, "-c", SEVERAL]
    done = subprocess.run(command, input=json.dumps([{}, *LAUNCHES]), env=inner, capture_output=True, text=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [False, *[True] * len(LAUNCHES)], done.stderr


def test_every_run_has_the_backend_that_was_chosen(monkeypatch):
    monkeypatch.setattr(sys, "executable", "echo")
    assert Processes(1, "jax").run(["train"])[1] == "-m keras_resnet train --backend jax\n"
    assert Processes(1).run(["train"])[1] == "-m keras_resnet train\n"


# Starts a run, prints its number once it trains, and waits.
PARENT = """
import subprocess, sys, time
from pathlib import Path
from keras_resnet.training.processes import start
words = ["train", "digits", "--model", "resnet8", "--epochs", "1000", "--out", sys.argv[1]]
process = start(words, {}, stdout=subprocess.DEVNULL, stderr=None)
while not Path(sys.argv[1], "history.csv").exists():
    time.sleep(0.1)
print(process.pid, flush=True)
process.wait()
"""


def test_a_run_is_saved_and_stops_if_the_process_that_started_it_is_killed(tmp_path):
    """As where memory runs out. The search or `reproduce` could not stop it, and it would train to its end."""
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as parent:
        run = int(parent.stdout.readline())
        parent.kill()
        try:
            _, stderr = parent.communicate(timeout=60)  # once the run has closed it, too
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(run, signal.SIGKILL)
    assert "keras-resnet: stopped by SIGTERM" in stderr.splitlines()[-1]
    assert list(tmp_path.glob("checkpoints/*.keras"))


@pytest.mark.parametrize(("cores", "workers", "each"), [(2, 2, [1, 1]), (7, 2, [4, 3]), (8, 1, [8]), (1, 2, [1, 1])])
def test_each_worker_has_its_share_of_the_cores(monkeypatch, cores, workers, each):
    """By processor affinity; if there are too few cores, all workers share all of them."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
    shares = []
    monkeypatch.setattr("os.sched_setaffinity", lambda _, cores: shares.append(cores))
    monkeypatch.setattr(sys, "executable", "true")
    running = Processes(workers)
    for _ in range(workers):
        running.run([])
    assert [len(share) for share in shares] == (each if 1 < workers <= cores else [])
    assert len(set().union(*shares)) == sum(map(len, shares))  # no core twice


def test_an_idle_worker_takes_the_next_run():
    """Not the next one in turn, which may still be busy."""
    running, both_started, assignments = Processes(2), threading.Barrier(2, timeout=20), []

    def run(words, worker, _):
        if words[0] in ("slow", "first"):
            both_started.wait()
        if words[0] == "slow":
            done.wait(20)
        assignments.append((words[0], worker))

    running._run, done = run, threading.Event()
    slow = threading.Thread(target=running.run, args=(["slow"],))
    slow.start()
    for name in ("first", "second", "third"):
        running.run([name])
    done.set()
    slow.join()
    assert len({worker for name, worker in assignments if name != "slow"}) == 1
    assert len({worker for _, worker in assignments}) == 2
