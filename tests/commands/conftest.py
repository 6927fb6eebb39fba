"""What the tests of the `keras-resnet` command share."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

import small_runs
from keras_resnet import cli
from keras_resnet.data import DATASETS


@pytest.fixture(autouse=True)
def few_digits_in_an_empty_folder(monkeypatch, tmp_path):
    monkeypatch.setitem(DATASETS, "digits", small_runs.few_digits())
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def command(capsys):
    """Runs the command as a shell would, in this process; returns its status and what it wrote to stdout and stderr."""

    def run(line):
        capsys.readouterr()
        try:
            status = cli.main(shlex.split(line))
        except SystemExit as end:
            status = end.code
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def mistake(command):
    """Runs the command with a mistake: one line on stderr, with these words, status 2, and nothing written."""

    def run(line, *words):
        before = small_runs.files(Path())
        status, out, err = command(line)
        assert (status, out, err.count("\n")) == (2, "", 1), err
        assert err.startswith("keras-resnet")
        for word in words:
            assert word in err
        assert small_runs.files(Path()) == before

    return run
