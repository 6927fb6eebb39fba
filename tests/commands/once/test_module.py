"""The command by the package's name, where its script is not on the path."""

from __future__ import annotations

import os
import subprocess
import sys

from keras_resnet.version import __version__


def run(*words: str) -> tuple[int, str, str]:
    done = subprocess.run([sys.executable, "-m", "keras_resnet", *words], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_the_package_runs_as_a_module_and_calls_itself_by_the_commands_name():
    assert run("--version") == (0, f"keras-resnet {__version__}\n", "")
    status, out, err = run("summary", "--help")
    assert (status, err) == (0, "")
    assert out.startswith("usage: keras-resnet summary ")
    status, out, err = run("summary", "--sizes")
    assert (status, out) == (2, "")
    assert err.startswith("keras-resnet summary: error: unrecognized arguments: --sizes")
    assert err.endswith("(see keras-resnet summary --help)\n")


def test_a_mistake_has_the_status_and_the_line_of_the_command():
    status, out, err = run("evaluate", "nothing.keras", "digits")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("keras-resnet: error: There is no model file 'nothing.keras'.")


def test_pictures_do_not_need_the_backend_of_matplotlib_that_a_notebook_names():
    """A command in a cell, `!keras-resnet evaluate`, inherits the name, and may run in another environment."""
    program = "from keras_resnet.cli import main; main(); import matplotlib"
    environment = {**os.environ, "MPLBACKEND": "of-another-environment"}
    words = [sys.executable, "-c", program, "summary", "resnet20"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_program_that_calls_the_command_keeps_its_backend_of_matplotlib(command, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "inline")
    assert command("summary resnet20")[0] == 0
    assert os.environ["MPLBACKEND"] == "inline"
