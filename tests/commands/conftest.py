"""Fixtures for the tests of the `keras-resnet` command."""

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
    """Runs a command line in this process; returns the exit status, stdout and stderr."""

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
    """Runs a command line with a mistake and checks for status 2, one line on stderr with these words, and no files."""

    def run(line, *words):
        before = small_runs.files(Path())
        status, out, err = command(line)
        assert (status, out, err.count("\n")) == (2, "", 1), err
        assert err.startswith("keras-resnet")
        for word in words:
            assert word in err
        assert small_runs.files(Path()) == before

    return run
