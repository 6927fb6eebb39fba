"""Files and folders are written completely or not at all, and survive a power failure; errors about them are short."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from keras_resnet.files import first_line, folder_atomically, write_atomically, write_json, write_text


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


def test_what_a_killed_process_has_written_of_a_file_is_removed_when_the_file_is_written_again(tmp_path):
    """But not what another process is writing now, or has written of another file, or on another machine."""
    program = """if True:
        import os, pathlib, signal, sys
        from keras_resnet.files import write_atomically

        def write(temporary):
            temporary.write_text("half")
            os.kill(os.getpid(), int(sys.argv[2]))

        write_atomically(pathlib.Path(sys.argv[1]), write)
    """

    def write_halfway(name, by):
        return subprocess.Popen([sys.executable, "-c", program, str(tmp_path / name), str(int(by))])

    (elsewhere := tmp_path / ".partial-00000000-1-net[1].keras").touch()
    stopped = write_halfway("net[1].keras", signal.SIGSTOP)
    try:
        os.waitpid(stopped.pid, os.WUNTRACED)
        for name in ("net[1].keras", "other.keras"):
            write_halfway(name, signal.SIGKILL).wait()
        assert len(list(tmp_path.iterdir())) == 4
        write_text(tmp_path / "net[1].keras", "whole")
        left = {path.name.split("-", 2)[-1] for path in tmp_path.iterdir() if path != elsewhere}
        assert {name for name in left if "net" in name} == {"net[1].keras", f"{stopped.pid}-net[1].keras"}
        assert len(left) == 3 and elsewhere.exists()
    finally:
        stopped.kill()
        stopped.wait()


def test_json_is_written_in_readable_form(tmp_path):
    write_json(tmp_path / "deep" / "a.json", {"a": [1]})
    assert json.loads((tmp_path / "deep" / "a.json").read_text()) == {"a": [1]}
    assert (tmp_path / "deep" / "a.json").read_text().endswith("}\n")


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("No such file\nand more", "No such file."),
        ("", "ValueError."),
        (f"{'a' * 90}. {'b' * 90}. {'c' * 90}.", f"{'a' * 90}. {'b' * 90}."),
        ("a" * 300, f"{'a' * 200}."),
    ],
)
def test_the_first_line_of_an_error_ends_with_a_sentence_of_its_first_200_characters(message, line):
    assert first_line(ValueError(message)) == line
