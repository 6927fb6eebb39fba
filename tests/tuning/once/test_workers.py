"""A worker waits for a chief that restarts, but not forever; `tests/across` kills the processes of entire searches."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from types import SimpleNamespace

import grpc
import keras
import pytest
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.src.distribute import oracle_client

from keras_resnet.cli import main
from keras_resnet.training.interruption import StoppedError, StopRequest, stop_request
from keras_resnet.tuning import workers
from keras_resnet.tuning.workers import RETRIED, PatientClient, SearchAborted, heartbeats


class Failed(grpc.RpcError):
    """An error of a gRPC call."""

    def __init__(self, code):
        self.code = lambda: code


class Client:
    """Replaces keras-tuner's client of a chief; its first calls fail."""

    objective = "the one"

    def __init__(self, *failures):
        self.failures, self.asked = list(failures), []

    def get_trial(self, trial_id, **how):
        self.asked.append((trial_id, how))
        if self.failures:
            raise self.failures.pop(0)
        return f"trial {trial_id}"


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """A clock that only waiting advances; also sets the address of the chief."""
    now = [0.0]
    fake = SimpleNamespace(monotonic=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr(workers, "time", fake)
    monkeypatch.setattr(oracle_client, "TIMEOUT", oracle_client.TIMEOUT)  # restores what a client changes
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "10.0.0.1")
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", "8000")
    return now


@pytest.mark.parametrize("code", RETRIED, ids=lambda code: code.name)
def test_a_call_is_retried_until_the_chief_answers(code, clock):
    client = Client(Failed(code), Failed(code))
    assert PatientClient(client, 15, StopRequest()).get_trial("3", wait=True) == "trial 3"
    assert client.asked == 3 * [("3", {"wait": True})]
    assert 0 < clock[0] <= 15


def test_a_chief_that_stays_away_is_an_error_after_the_deadline(clock):
    client = Client(*100 * [Failed(grpc.StatusCode.UNAVAILABLE)])
    words = r"The chief at 10.0.0.1:8000 no longer answers \(UNAVAILABLE\)"
    with pytest.raises(ValueError, match=words) as raised:
        PatientClient(client, 15, StopRequest()).get_trial("3")
    assert "\n" not in str(raised.value)
    assert 15 < clock[0] < 18
    assert 15 <= len(client.asked) < 20


def test_a_trial_at_whose_end_the_chief_is_away_is_not_reported_as_failed(clock):
    """The chief may return before keras-tuner reports the end of the trial, whose result is in its folder."""
    tuner, trial = BaseTuner.__new__(BaseTuner), SimpleNamespace(trial_id="3", status="RUNNING")
    tuner.oracle, tuner.run_trial = (
        PatientClient(Client(*100 * [Failed(grpc.StatusCode.UNAVAILABLE)]), 15, StopRequest()),
        lambda trial: {},
    )
    with pytest.raises(ValueError, match="no longer answers"):
        tuner._try_run_and_update_trial(trial)
    assert trial.status == "RUNNING"


def test_a_worker_that_waits_for_a_chief_that_is_away_stops_when_it_is_asked_to(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
        monkeypatch.setenv("KERASTUNER_ORACLE_PORT", str(free.getsockname()[1]))
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "worker0")
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM))
    with stop_request() as stop, pytest.raises(SearchAborted) as raised:
        client = PatientClient(oracle_client.OracleClient(None), 60, stop)
        timer.start()
        begun = time.monotonic()
        client.create_trial("worker0")
    assert time.monotonic() - begun < 20
    assert isinstance(raised.value.__cause__, StoppedError)
    assert str(raised.value.__cause__) == "stopped by SIGTERM; the search is saved"


def test_a_trial_that_is_asked_to_end_does_not_wait_for_a_chief_that_is_away():
    called, returns = threading.Event(), threading.Event()
    chief = SimpleNamespace(get_trial=lambda trial_id: called.set() or returns.wait(20))
    with heartbeats(chief, "3", every=0.01):
        assert called.wait(20)
        begun = time.monotonic()
    assert time.monotonic() - begun < 10
    returns.set()


@pytest.mark.parametrize("error", [Failed(grpc.StatusCode.INVALID_ARGUMENT), KeyError("no such trial")], ids=repr)
def test_an_error_that_a_retry_would_not_fix_is_raised_at_once(error, clock):
    client = Client(error)
    with pytest.raises((ValueError, KeyError)):
        PatientClient(client, 15, StopRequest()).get_trial("3")
    assert (len(client.asked), clock[0]) == (1, 0)


def test_each_call_has_its_own_deadline_and_other_attributes_are_the_clients(clock):
    """keras-tuner's own calls wait an hour."""
    client = Client(*10 * [Failed(grpc.StatusCode.UNAVAILABLE)])
    patient = PatientClient(client, 15, StopRequest())
    assert oracle_client.TIMEOUT == 15
    assert patient.objective == "the one"
    for _ in range(2):  # the second has the full time again
        client.failures = 10 * [Failed(grpc.StatusCode.UNAVAILABLE)]
        assert patient.get_trial("3") == "trial 3"


def test_a_worker_without_a_chief_says_so_in_a_line(monkeypatch, tmp_path, capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    for name, value in {"TUNER_ID": "worker0", "ORACLE_IP": "127.0.0.1", "ORACLE_PORT": port}.items():
        monkeypatch.setenv(f"KERASTUNER_{name}", value)
    out = tmp_path / "search"
    words = ["tune", "digits", "--backend", keras.backend.backend(), "--patience", "1", "--out", str(out)]
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"keras-resnet: error: No chief answers at 127.0.0.1:{port}. Start one with ")
    monkeypatch.delenv("KERASTUNER_ORACLE_PORT")
    assert main(words) == 2
    assert "Missing: KERASTUNER_ORACLE_PORT" in capsys.readouterr().err
    assert not out.exists()
