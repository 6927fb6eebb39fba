"""How the command ends on a bug, a full disk, a folder in use, too little memory, Ctrl-C or a closed pipe."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import filelock
import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet import cli


def raises_in_numpy(*args, **kwargs):
    np.zeros(3).reshape(2)


def raises_in_keras(*args, **kwargs):
    keras.layers.Dense(-1)


@pytest.mark.parametrize("bug", [raises_in_numpy, raises_in_keras])
def test_a_bug_is_not_reported_as_a_mistake_of_the_user(command, monkeypatch, bug):
    monkeypatch.setattr("keras_resnet.training.run.load", bug)
    with pytest.raises(ValueError):
        command("train digits")


def test_a_full_disk_is_reported_in_one_line(command, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device", "runs")

    monkeypatch.setattr("keras_resnet.training.run.train", full)
    status, _, err = command("train digits")
    assert (status, err) == (2, "keras-resnet: error: [Errno 28] No space left on device: 'runs'\n")


def test_a_folder_in_use_has_a_status_of_its_own(command):
    Path("mine").mkdir()
    with filelock.FileLock("mine/.lock"):
        status, _, err = command("train digits --model resnet8 --out mine")
    assert (status, err.count("\n")) == (4, 1)
    assert err.startswith("keras-resnet: error: Another process trains in 'mine' now.")


class ResourceExhaustedError(Exception):
    """Has the name of TensorFlow's exception."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8589934592 bytes."),
        ResourceExhaustedError("failed to allocate memory"),
    ],
    ids=repr,
)
def test_too_little_memory_is_reported_in_one_line(command, monkeypatch, error):
    def train(*args, **kwargs):
        raise error

    monkeypatch.setattr("keras_resnet.training.run.train", train)
    status, _, err = command("train digits")
    assert (status, err.count("\n")) == (2, 1)
    assert err.startswith("keras-resnet: error: out of memory. Choose a smaller --batch-size")


def test_ctrl_c_ends_with_a_line_that_says_how_to_resume(command, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("keras_resnet.training.run.train", interrupted)
    status, _, err = command("train digits --out mine")
    assert status == 130
    assert "Run the same command again to resume from the last checkpoint in mine." in err
    monkeypatch.setattr("keras_resnet.saving.load", interrupted)
    status, _, err = command("evaluate run digits")
    assert (status, err) == (130, "\nkeras-resnet: stopped\n")


@pytest.mark.parametrize("line", ["train digits", "tune digits"])
def test_a_run_or_search_that_is_asked_to_stop_while_it_imports_its_libraries_ends_at_once(command, monkeypatch, line):
    def select_backend(name):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except BaseException as error:
            raise ImportError("initialization failed") from error  # as modules of pybind11 do

    monkeypatch.setattr("keras_resnet.backend.select_backend", select_backend)
    status, _, err = command(line)
    assert status == 75
    assert err.endswith("stopped by SIGTERM; it had not begun to train. Run the same command again to resume.\n")
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_closed_pipe_is_not_an_error():
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    process = subprocess.Popen(
        ["keras-resnet", "summary"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PATH": path}
    )
    process.stdout.close()  # as `head` does
    assert (process.stderr.read(), process.wait()) == (b"", 0)
    process.stderr.close()


def test_features_leave_no_incomplete_file_when_they_are_asked_to_end(command, monkeypatch):
    """SIGTERM when the file has everything but its name. `test_preparing` shows that the signal then ends a process."""
    keras_resnet.CifarResNet(8, classes=2).save("bare.keras")
    np.save("image.npy", np.zeros((32, 32, 3), "uint8"))
    monkeypatch.setattr("keras_resnet.files.to_disk", lambda path: os.kill(os.getpid(), signal.SIGTERM))
    monkeypatch.setattr(signal, "raise_signal", lambda number: sys.exit(128 + number))
    status, *_ = command("features bare.keras image.npy out.npz")
    assert (status, sorted(os.listdir())) == (128 + signal.SIGTERM, ["bare.keras", "image.npy"])


def test_a_closed_stream_is_like_the_null_device():
    """Without one, Python has no `sys.stdout`, and the number of the stream is that of the next file."""
    program = (
        "import os, sys, types\n"
        "def train(*_):\n"
        "    print('Epoch', sys.stdin.read(), sys.stdout.isatty(), sys.stderr.isatty(), file=sys.stderr)\n"
        "    sys.stdout.flush()\n"
        "    with open('model', 'w') as file: file.write(f'{file.fileno() > 2} {os.get_inheritable(1)}')\n"
        "    raise KeyboardInterrupt\n"
        "sys.modules['keras_resnet.training.run'] = types.SimpleNamespace(train=train)\n"
        "from keras_resnet.cli import main\n"
        "sys.exit(main(['train', 'digits', '--out', 'mine']))"
    )
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        words = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", program]
        assert subprocess.run(words, input=b"", capture_output=True).returncode == 130
        assert Path("model").read_text() == "True True"


def test_a_name_that_the_output_cannot_encode_is_escaped(monkeypatch):
    """As by Windows for a pipe, or on a terminal in UTF-8 for file names that are not."""
    keras_resnet.CifarResNet(8).save("bare.keras")
    for encoding, out, written in (
        ("latin-1", "Tüte 日本.keras", b"T\xfcte \\u65e5\\u672c.keras takes"),
        ("utf-8", os.fsdecode(b"T\xfcte.keras"), b"T\\udcfcte.keras takes"),
    ):
        stdout = io.TextIOWrapper(io.BytesIO(), encoding)
        monkeypatch.setattr(sys, "stdout", stdout)
        assert cli.main(["convert", "bare.keras", out, "--model", "resnet8"]) == 0
        assert written in stdout.buffer.getvalue()


def test_a_run_whose_progress_nobody_reads_any_longer_does_not_count_as_done():
    """As behind `| head`, or `| tee` on a full disk."""
    program = (
        "import sys, types\n"
        "def train(*_):\n"
        "    while True: print('Epoch', flush=True)\n"
        "sys.modules['keras_resnet.training.run'] = types.SimpleNamespace(train=train)\n"
        "from keras_resnet.cli import main\n"
        "sys.exit(main(['train', 'digits', '--out', 'mine']))"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    err, status = process.stderr.read().decode(), process.wait()
    process.stderr.close()
    assert (status, err.count("\n")) == (2, 1), err
    assert err.startswith("keras-resnet: error: The reader of the run's progress has ended. Run the same command again")
    assert err.endswith("to resume from the last checkpoint in mine.\n")
