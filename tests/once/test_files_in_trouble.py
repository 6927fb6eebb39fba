"""Quotas, folders in the way, damaged JSON, locks, and signals while a file is written."""

from __future__ import annotations

import errno
import os
import re
import signal
import threading
from pathlib import Path

import pytest

from keras_resnet.files import (
    FolderInUseError,
    first_line,
    lock,
    read_json,
    remove_partial,
    to_disk,
    unwinding_at_sigterm,
    write_atomically,
    write_text,
)


def failing(error):
    """Returns a function that fails to write a file."""

    def write(temporary):
        temporary.write_text("half")
        raise error

    return write


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_quota_is_reported_like_a_full_disk(tmp_path, number):
    """Whether it reaches Python as an error of the system or in the words of a library."""
    for error in (OSError(number, os.strerror(number)), RuntimeError(f"write failed: {os.strerror(number)} (here)")):
        with pytest.raises(OSError, match=re.escape(os.strerror(number))) as caught:
            write_atomically(tmp_path / "file", failing(error))
        assert (caught.value.errno, caught.value.filename) == (number, str(tmp_path / "file"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.EDQUOT, errno.EIO, errno.ESTALE])
def test_an_error_of_a_network_disk_names_the_file_also_where_it_comes_late(tmp_path, monkeypatch, number):
    """NFS accepts what is written, and reports only when it is flushed that there was no space, without a name."""

    def fsync(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    (tmp_path / "a.csv").write_text("old")
    with pytest.raises(OSError, match=re.escape(os.strerror(number))) as caught:
        write_text(tmp_path / "a.csv", "new")
    assert str(caught.value.filename).endswith("a.csv")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_files_are_written_where_folders_cannot_be_flushed(tmp_path, monkeypatch):
    """Linux refuses it in file systems that have no such operation, such as /proc."""
    to_disk(Path("/proc"))
    fsync = os.fsync

    def flush_files(descriptor):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", flush_files)
    write_text(tmp_path / "a.csv", "new")
    assert (tmp_path / "a.csv").read_text() == "new"


def test_a_name_that_is_not_utf_8_is_escaped_in_text(tmp_path):
    write_text(tmp_path / "classes.csv", os.fsdecode("0,Tüte\n1,".encode() + b"caf\xe9\n"))
    assert (tmp_path / "classes.csv").read_bytes() == "0,Tüte\n1,caf\\udce9\n".encode()


def test_an_error_that_names_another_file_is_not_changed(tmp_path):
    for error in (
        OSError(errno.ENOSPC, "No space left on device", "/another/disk"),
        OSError(errno.EACCES, "Permission denied"),
    ):
        with pytest.raises(OSError) as caught:
            write_atomically(tmp_path / "file", failing(error))
        assert caught.value is error


def test_a_folder_in_place_of_the_file_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "model.keras").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        write_atomically(tmp_path / "model.keras", lambda _: pytest.fail("it was written"))
    assert caught.value.filename == str(tmp_path / "model.keras")


@pytest.mark.parametrize("contents", [b"[1, 2]", b"null", b'{"a": 1', b'{"a": "\xff"}', b""])
def test_json_that_is_no_object_is_damaged(tmp_path, contents):
    (tmp_path / "a.json").write_bytes(contents)
    with pytest.raises(ValueError, match=r"a\.json' is damaged: .*\. Delete it\.$"):
        read_json(tmp_path / "a.json", "Delete it.")


def test_a_locked_folder_is_refused_at_once_and_free_afterwards(tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("it waited for the lock"))
    held, refused = lock(tmp_path / "run", "trains in"), lock(tmp_path / "run", "trains in")
    with held, pytest.raises(FolderInUseError, match=r"^Another process trains in '.*/run' now\."):
        refused.__enter__()
    with lock(tmp_path / "run", "trains in"):
        pass


def test_the_remains_of_killed_processes_are_removed_and_nothing_else(tmp_path):
    (tmp_path / ".partial-1-model").mkdir()
    (tmp_path / ".partial-1-model" / "weights").touch()
    for name in (".partial-2-history.csv", "history.csv", ".lock"):
        (tmp_path / name).touch()
    remove_partial(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "history.csv"]


@pytest.fixture
def default_handler():
    """SIGTERM has its default effect before and after the test."""
    previous = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, previous)


@pytest.mark.usefixtures("default_handler")
def test_sigterm_ends_the_process_only_after_incomplete_files_are_removed(tmp_path, monkeypatch):
    ends = []

    def end(number):
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        ends.append((number, os.listdir(tmp_path)))

    monkeypatch.setattr(signal, "raise_signal", end)

    def write(temporary):
        temporary.write_text("half")
        os.kill(os.getpid(), signal.SIGTERM)

    with unwinding_at_sigterm():
        write_atomically(tmp_path / "file", write)
    assert ends == [(signal.SIGTERM, [])]
    with unwinding_at_sigterm():
        pass
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.usefixtures("default_handler")
def test_a_handler_of_sigterm_is_neither_replaced_nor_set_from_a_thread():
    """A run that saves a checkpoint at SIGTERM goes on doing so; other threads than the main one may set none."""
    seen = []

    def handler(*_):
        seen.append("handled")

    signal.signal(signal.SIGTERM, handler)
    with unwinding_at_sigterm():
        assert signal.getsignal(signal.SIGTERM) is handler
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is handler
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def in_thread():
        with unwinding_at_sigterm():
            seen.append("in a thread")

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    assert seen == ["handled", "in a thread"]


@pytest.mark.parametrize(
    "message", ["The disk is full", "The disk is full.", "The disk is full. \n...", "The disk is full.."]
)
def test_the_first_line_of_an_error_ends_with_one_full_stop(message):
    assert first_line(OSError(message)) == "The disk is full."
