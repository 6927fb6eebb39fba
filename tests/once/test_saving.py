"""What is written survives a power failure; checksums; and the first line of an error is short."""

from __future__ import annotations

import hashlib
import os
import zipfile

import pytest

from keras_resnet import saving


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
    saving.write_text(path, "new")
    assert path.read_text() == "new"
    assert events == [*inodes(path), "renamed", *inodes(tmp_path)]


def test_everything_in_a_folder_is_flushed_before_it_gets_its_name(tmp_path, events):
    with saving.folder_atomically(tmp_path / "1") as folder:
        (folder / "variables").mkdir()
        (folder / "variables" / "index").write_text("a")
        (folder / "saved_model.pb").write_text("b")
    *flushed, renamed, last = events
    assert sorted(flushed) == sorted(inodes(tmp_path / "1", *(tmp_path / "1").rglob("*")))
    assert (renamed, [last]) == ("renamed", inodes(tmp_path))


def test_a_member_that_has_no_checksum_among_others_is_refused(tmp_path):
    path = tmp_path / "model.keras"
    digest = hashlib.sha256(b"{}").hexdigest()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr(saving.SUMS, f"{digest}  config.json\n")
    saving.verify(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("added", "")
    with pytest.raises(ValueError, match=r"model\.keras' is damaged: added does not match its checksum"):
        saving.verify(path)


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
    assert saving.first_line(ValueError(message)) == line
