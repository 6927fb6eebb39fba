"""A run that is asked to stop, at any moment and by any signal, or that cannot write, loses no progress."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import small_runs
from keras_resnet import backend
from keras_resnet.backend.devices import Devices
from keras_resnet.cli import main
from keras_resnet.training import batch_norm, progress_bar, run
from keras_resnet.training.callbacks import AGREE_EVERY, StopTestOnRequest
from keras_resnet.training.interruption import StoppedError, StopRequest, stop_request
from keras_resnet.training.machine import Machine
from keras_resnet.training.run import train

TESTS = Path(__file__).resolve().parents[2]


def test_sigusr1_too_asks_a_run_to_stop(tmp_path, capsys, signal_in, start):
    """Slurm can send it before a time limit. That such a run ends the same, `test_interruption` shows for SIGTERM."""
    before = signal.getsignal(signal.SIGUSR1)
    signal_in(1, 2, signal.SIGUSR1)
    assert start(tmp_path / "run") == 75
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("keras-resnet: stopped by SIGUSR1; the run is saved after step 2 of epoch 1.")
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["epoch_0000_step_000002.keras"]
    assert signal.getsignal(signal.SIGUSR1) == before


ON_A_TERMINAL = """
import os, signal, sys, time
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
os.login_tty(int(sys.argv[1]))
if sys.argv[2] == "pipe":
    reader, writer = os.pipe()
    os.dup2(writer, 1), os.close(writer)
from keras_resnet.training.interruption import stop_request
with stop_request() as stop:
    print("trains", file=sys.stderr, flush=True)
    for _ in range(1000):
        stop.signal or time.sleep(0.03)
    if sys.argv[2] == "pipe":
        os.close(reader)  # as that of `tee`, which the signal has ended
    print("Epoch 2", flush=True)
    print(f"stopped by {stop.signal}", file=sys.stderr, flush=True)
sys.exit(75)
"""


@pytest.mark.parametrize("output", ["terminal", "pipe"])
def test_a_lost_terminal_asks_a_run_to_stop_which_may_still_print(output):
    """A connection by ssh is lost, and with it the terminal. Any further output to it is an error."""
    ours, theirs = os.openpty()
    with subprocess.Popen([sys.executable, "-c", ON_A_TERMINAL, str(theirs), output], pass_fds=[theirs]) as process:
        os.close(theirs)
        with open(ours, "rb") as terminal:
            assert terminal.readline() == b"trains\r\n"
        assert process.wait() == 75


def test_a_run_that_ignores_sighup_as_under_nohup_goes_on_doing_so():
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_request() as stop:
            signal.raise_signal(signal.SIGHUP)
        assert (stop.signal, signal.getsignal(signal.SIGHUP)) == (None, signal.SIG_IGN)
    finally:
        signal.signal(signal.SIGHUP, previous)


FULL_DISK = """
import resource, signal, sys
from keras_resnet import backend; backend.select_backend()
import keras, small_runs
from keras_resnet import saving
from keras_resnet.cli import main
small_runs.take_few_digits()
save = saving.save
def fills_up(model, path, info):
    if len(info["history"]) == 2:
        limit = (out / "checkpoints" / "epoch_0001.keras").stat().st_size - missing
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, unlimited[1]))
    save(model, path, info)
saving.save = fills_up
from pathlib import Path
out, unlimited = Path(sys.argv[1]), resource.getrlimit(resource.RLIMIT_FSIZE)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for missing in map(int, sys.argv[3:]):
    status = main(["train", "--recipe", sys.argv[2], "--out", str(out)])
    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    saved = [path.name for path in (out / "checkpoints").iterdir()]
    print("It ended with status", int(status), *saved, file=sys.stderr)
"""


def test_a_disk_that_fills_up_during_a_checkpoint_ends_the_run_in_a_line_and_costs_no_checkpoint(tmp_path, start):
    """The kernel refuses writes within the last member of the file, and for the resumed run within the first."""
    out = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, out, small_runs.finished() / "recipe.json", "100", "20000"],
        env={**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"},
        capture_output=True,
        text=True,
    )
    lines = done.stderr.splitlines()
    for resuming in ([], ["Resuming after epoch 1 of 4."]):
        count = len(resuming) + 3
        *before, line, ended = lines[:count]
        assert before == [*resuming, f"Training on {backend.device()}."], done.stderr
        assert "File too large" in line and line.startswith("keras-resnet: error:")
        assert ended == "It ended with status 2 epoch_0001.keras"
        del lines[:count]
    assert not lines
    assert start(out) == 0
    assert small_runs.results(out) == small_runs.results(small_runs.finished())


def test_a_folder_that_cannot_be_written_is_reported_in_a_line(start, capsys):
    capsys.readouterr()
    assert start("/sys/run") == 2
    err = capsys.readouterr().err
    assert (err.count("\n"), "/sys/run" in err) == (1, True)


def test_an_invalid_machine_is_refused():
    with pytest.raises(ValueError, match=r"`save_every` must be a number above 0. Received: 0"):
        Machine(save_every=0)


def test_a_request_after_the_very_last_step_lets_the_run_end(tmp_path, signal_in, start):
    signal_in(4, 3, signal.SIGTERM)
    assert start(tmp_path / "run") == 0
    assert small_runs.results(tmp_path / "run") == small_runs.results(small_runs.finished())


def signal_between_batches(patch, bar):
    """Sends SIGTERM when the second batch of a progress bar begins."""

    def on_test_batch_begin(self, batch, logs=None):
        original(self, batch, logs)
        if batch == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    original = bar.on_test_batch_begin
    patch.setattr(bar, "on_test_batch_begin", on_test_batch_begin)


def test_a_run_asked_to_stop_in_its_final_test_or_re_estimation_resumes_after_its_last_epoch(
    tmp_path, monkeypatch, capsys
):
    """In a test of 53 images in batches of 20, and over 97 images in batches of 32."""

    class FinalTest(progress_bar.Bar):
        pass

    monkeypatch.setattr("keras_resnet.training.feed.TEST_BATCH", 20)
    words = ["train", "digits", "--model", "resnet8", "--width", "0.25", "--shortcut", "B"]
    words += ["--batch-size", "32", "--epochs", "1", "--reestimate"]
    assert main([*words, "--out", str(tmp_path / "whole")]) == 0
    out = tmp_path / "run"
    for bar in (FinalTest, batch_norm._Statistics):
        capsys.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr("keras_resnet.training.ending.Bar", FinalTest)
            signal_between_batches(patch, bar)
            assert main([*words, "--out", str(out)]) == 75
        last = capsys.readouterr().err.splitlines()[-1]
        assert (
            "stopped by SIGTERM; the run is saved after epoch 1, without its final test. Run the same command" in last
        )
        assert not (out / "summary.json").exists()
    assert main([*words, "--out", str(out)]) == 0
    assert "Resuming after epoch 1 of 1." in capsys.readouterr().err
    assert small_runs.results(out) == small_runs.results(tmp_path / "whole")


@pytest.mark.parametrize("moment", ["load", "build", "resume"])
def test_a_run_asked_to_stop_before_its_first_step_says_so_and_may_be_started_again(
    tmp_path, monkeypatch, capsys, moment
):
    """For example while it downloads its data, measures the mean of photographs, or compiles a large network."""

    def with_signal(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return original(*arguments)

    original = getattr(run, moment)
    monkeypatch.setattr(run, moment, with_signal)
    handler = signal.getsignal(signal.SIGTERM)
    assert main(["train", "digits", "--model", "resnet8", "--out", str(tmp_path / "run")]) == 75
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "keras-resnet: stopped by SIGTERM; it had not begun to train. Run the same command again to resume."
    assert not list(tmp_path.rglob("*.keras"))
    assert signal.getsignal(signal.SIGTERM) is handler


def test_a_request_ends_work_that_leaves_nothing_to_save_at_once_and_its_clean_up_is_not_interrupted():
    done = []
    with stop_request() as stop:
        with (
            pytest.raises(StoppedError, match="stopped by SIGTERM; it had not begun"),
            stop.at_once("it had not begun"),
        ):
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                done.append("the rest of the work")
            except Exception:
                done.append("swallowed by a library")
            finally:
                os.kill(os.getpid(), signal.SIGTERM)
                done.append("cleaned up")
        with pytest.raises(StoppedError), stop.at_once("it had not begun"):  # as of a probe after its run was stopped
            done.append("more work")
        assert (done, stop.signal) == (["cleaned up"], "SIGTERM")
        os.kill(os.getpid(), signal.SIGUSR1)  # is noted
        assert stop.signal == "SIGUSR1"


def test_the_data_that_several_processes_load_are_not_waited_for():
    """A process that waits for another one's download cannot be asked: the signal must end it."""
    loaded_with = []

    def load(*_):
        loaded_with.append(signal.getsignal(signal.SIGTERM))
        raise ValueError("enough")

    devices = Devices(processes=2)
    devices.gather = lambda text: [text, ""]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "load", load)
        patch.setattr(backend, "devices", lambda *_, **__: devices)
        with pytest.raises(ValueError, match="enough"):
            train(small_runs.small_recipe(), "nowhere")
    assert loaded_with == [signal.SIG_DFL]


def test_a_request_to_stop_a_probe_stops_its_run_too():
    """The probe may still have finished."""
    handler = signal.getsignal(signal.SIGUSR1)
    with stop_request() as outer:
        with stop_request() as probe:
            os.kill(os.getpid(), signal.SIGUSR1)
            assert probe.signal == "SIGUSR1"
        assert outer.signal == "SIGUSR1"
    assert signal.getsignal(signal.SIGUSR1) is handler
    with stop_request() as another:
        assert another.signal is None


@pytest.mark.parametrize(("batch", "ends"), [(1, False), (AGREE_EVERY, True)])
def test_several_processes_end_a_test_at_a_batch_at_which_all_agree(batch, ends):
    """If a single one left, the others would wait for it."""
    devices = Devices(processes=2)
    devices.gather = lambda text: [text, "SIGTERM"]  # the other process received the signal
    callback = StopTestOnRequest(StopRequest(), devices, "without its final test")
    with (
        pytest.raises(StoppedError, match="stopped by SIGTERM; without its final test")
        if ends
        else contextlib.nullcontext()
    ):
        callback.on_test_batch_begin(batch)


def test_a_run_is_saved_at_the_given_interval(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(
        "keras_resnet.training.folder.RunFolder.write_checkpoint",
        lambda self, model, seeds, progress: written.append((len(progress.history), progress.step)),
    )
    for minutes in (1e-9, 60):
        machine = Machine(save_every=minutes)
        train(small_runs.small_recipe(), tmp_path / str(minutes), say=lambda line: None, machine=machine)
    assert written == [(0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (1, 0), (2, 0)]


def test_a_truncated_checkpoint_within_an_epoch_gives_way_to_the_one_before(tmp_path, capsys, signal_in, start):
    out = tmp_path / "run"
    signal_in(3, 2, signal.SIGTERM)
    assert start(out) == 75
    newest = out / "checkpoints" / "epoch_0002_step_000002.keras"
    newest.write_bytes(newest.read_bytes()[:-1000])
    signal_in(0, 0)
    assert start(out) == 0
    stderr = capsys.readouterr().err
    assert f"Skipping a damaged checkpoint. {newest.name}" in stderr
    assert "Resuming after epoch 2 of 4." in stderr
    assert small_runs.results(out) == small_runs.results(small_runs.finished())
