"""Runs side by side share a machine."""

from __future__ import annotations

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
    monkeypatch.setattr(processes, "_shares", lambda _: [])
    running = Processes(workers)
    for _ in range(workers):
        running.run(["train"])
    assert started == expected
    assert shared == {("false", "true") if visible and workers > 1 else (None, None)}


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
