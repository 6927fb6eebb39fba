"""Files and folders are written completely or not at all, and survive a power failure; errors about them are short."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_resnet.files import first_line, folder_atomically, lock, write_atomically, write_json, write_text


@pytest.fixture
def events(monkeypatch):
    """Returns the list of what is flushed to the disk, by inode, and renamed."""
    noted = []

    def note_first(name, what):
        original = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *arguments: noted.append(what(*arguments)) or original(*arguments))

    note_first("fsync", lambda descriptor: os.fstat(descriptor).st_ino)
    for name in ("rename", "replace"):
        note_first(name, lambda *_: "renamed")
    return noted


def inodes(*paths):
    return [path.stat().st_ino for path in paths]


def test_a_symbolic_link_stays_and_the_file_that_it_points_to_is_replaced(tmp_path):
    """As by `open(path, "w")`: the link may lead to a larger disk."""
    (tmp_path / "disk").mkdir()
    for name in ("old.json", "new.json"):  # the latter does not exist yet
        (tmp_path / name).symlink_to(Path("disk", name))
    (tmp_path / "disk" / "old.json").write_text("old")
    for name in ("old.json", "new.json"):
        write_text(tmp_path / name, "new")
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / "disk" / name).read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "new.json", "old.json"]


def test_a_file_is_flushed_before_it_replaces_another_and_its_folder_after(tmp_path, events):
    path = tmp_path / "history.csv"
    path.write_text("old")
    write_text(path, "new")
    assert path.read_text() == "new"
    assert events == [*inodes(path), "renamed", *inodes(tmp_path)]


def test_everything_in_a_folder_is_flushed_before_it_gets_its_name(tmp_path, events):
    with folder_atomically(tmp_path / "1") as folder:
        (folder / "variables").mkdir()
        (folder / "variables" / "index").write_text("a")
        (folder / "saved_model.pb").write_text("b")
    *flushed, renamed, last = events
    assert sorted(flushed) == sorted(inodes(tmp_path / "1", *(tmp_path / "1").rglob("*")))
    assert (renamed, [last]) == ("renamed", inodes(tmp_path))


def test_a_partly_written_file_does_not_replace_the_old_one(tmp_path):
    (tmp_path / "summary.json").write_text("old")

    def write(temporary):
        temporary.write_text("ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "summary.json", write)
    assert (tmp_path / "summary.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


@pytest.mark.parametrize(
    "error", [RuntimeError("basic_ios::clear: iostream error"), OSError(errno.ENOSPC, "No space left on device")]
)
def test_a_full_disk_is_reported_as_such_whatever_a_library_raises(monkeypatch, tmp_path, error):
    """OpenVINO's message, and that of Python code that does not name the file."""

    def write(temporary):
        monkeypatch.setattr(Path, "write_bytes", full)
        raise error

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    def write_in_folder():
        with folder_atomically(tmp_path / "file"):
            write(None)

    for attempt in (lambda: write_atomically(tmp_path / "file", write), write_in_folder):
        with pytest.raises(OSError, match=r"No space left on device: '.*/file'"):
            attempt()
    monkeypatch.undo()
    quoting = RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")  # safetensors
    with pytest.raises(OSError, match=r"No space left on device: '.*/file'"):
        write_atomically(tmp_path / "file", lambda _: (_ for _ in ()).throw(quoting))
    with pytest.raises(RuntimeError, match="iostream"):
        write_atomically(tmp_path / "file", lambda _: (_ for _ in ()).throw(RuntimeError("iostream")))
    assert list(tmp_path.iterdir()) == []


def killed_while_writing(path):
    """Returns the temporary file of a process that is killed while it writes a file."""
    program = (
        "import os, sys; from pathlib import Path; from keras_resnet.files import write_atomically\n"
        "def write(temporary):\n"
        "    temporary.write_text('ne'); print(temporary, flush=True); os.kill(os.getpid(), 9)\n"
        "write_atomically(Path(sys.argv[1]), write)"
    )
    done = subprocess.run([sys.executable, "-c", program, path], stdout=subprocess.PIPE, text=True)
    assert done.returncode == -signal.SIGKILL
    return Path(done.stdout.strip())


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path):
    left = killed_while_writing(tmp_path / "a [1].json")
    assert left.read_text() == "ne"
    folder = left.with_name(f"{left.name}.arrays")
    folder.mkdir()
    write_json(tmp_path / "b.json", {})
    assert [path.name for path in tmp_path.iterdir()] == ["b.json"]


def test_what_a_process_that_runs_or_may_run_is_writing_stays(tmp_path, monkeypatch):
    left = killed_while_writing(tmp_path / "a.json")
    *_, place, process, name = left.name.split("-", 3)
    elsewhere = [
        f".partial-0123456789ab-{process}-{name}",
        ".partial-4-old.json",
        f".partial-{place}-x",
        ".partial-xyz",
    ]
    own_and_init = [f".partial-{place}-{number}-{name}" for number in (os.getpid(), 1)]
    for other in (*elsewhere, *own_and_init):
        (tmp_path / other).touch()
    kill = os.kill

    def forbidden(process, number):
        if process == 1:
            raise PermissionError  # as for a process of another user
        kill(process, number)

    monkeypatch.setattr(os, "kill", forbidden)
    write_json(tmp_path / "b.json", {})
    assert {path.name for path in tmp_path.iterdir()} == {"b.json", *elsewhere, *own_and_init}


def test_nothing_is_removed_where_processes_cannot_be_told_apart(tmp_path, monkeypatch):
    """Without Linux's /proc."""
    monkeypatch.setattr("keras_resnet.files._place", lambda: "unknown")
    (tmp_path / f".partial-unknown-{2**22 + 1}-a.json").touch()  # above the highest id of a process
    write_json(tmp_path / "b.json", {})
    assert len(list(tmp_path.iterdir())) == 2


def test_a_name_may_be_as_long_as_a_file_system_allows(tmp_path):
    path = tmp_path / f"{'ü' * 125}.json"
    write_atomically(path, lambda temporary: temporary.write_text(temporary.suffix))
    assert path.read_text() == ".json"


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    """As Lustre or NFS may be mounted; filelock passes the system's error on, which names no file."""

    def flock(*_):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr("fcntl.flock", flock)
    message = r"The folder cannot be locked: Operation not supported: '.*/run'"
    with pytest.raises(OSError, match=message), lock(tmp_path / "run", "trains in"):
        pass


def test_json_is_written_in_readable_form(tmp_path):
    write_json(tmp_path / "deep" / "a.json", {"a": [1]})
    assert json.loads((tmp_path / "deep" / "a.json").read_text()) == {"a": [1]}
    assert (tmp_path / "deep" / "a.json").read_text().endswith("}\n")


def test_numbers_that_json_does_not_have_are_null(tmp_path):
    """Most programs other than Python refuse NaN and Infinity."""
    write_json(tmp_path / "a.json", {"a": [math.nan, (1.5, -math.inf)], "b": {"c": np.float64("inf"), "d": "NaN"}})
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {"a": [None, [1.5, None]], "b": {"c": None, "d": "NaN"}}


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("No such file\nand more", "No such file."),
        ("", "ValueError."),
        (f"{'a' * 90}. {'b' * 90}. {'c' * 90}.", f"{'a' * 90}. {'b' * 90}."),
        (f"{'a' * 199} bcd", f"{'a' * 199} ..."),
        ("a" * 300, f"{'a' * 200} ..."),
    ],
)
def test_the_first_line_of_an_error_ends_with_a_sentence_or_a_word_of_its_first_200_characters(message, line):
    assert first_line(ValueError(message)) == line
