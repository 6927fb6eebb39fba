"""Where the encoded images of a stream come from: a source gives any of its images by number."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from .errors import DataError
from .images import EXTENSIONS

_TEST_FOLDERS = ("val", "validation", "test")
_LAYOUT = "a folder of images a class in PATH/train, and the same in PATH/val"


class Record(NamedTuple):
    """An image as it is stored.

    Attributes:
        data: the file's bytes; none where it cannot be read.
        label: the number of its class.
        name: what a user finds it by: a path, or a record's key.
    """

    data: bytes
    label: int
    name: str


class Source(Protocol):
    """Labelled images by number, from 0. It is pickled to worker processes, so it opens its files late."""

    class_names: tuple[str, ...]

    def __len__(self) -> int: ...

    def read(self, numbers: Sequence[int]) -> list[Record]:
        """The records of these numbers, in their order."""


class FolderSource:
    """The images of a folder of class folders, whose names in alphabetical order are the classes.

    The folders are listed once. An image is a file that ends in one of `EXTENSIONS`; other files are passed
    over, and nothing is opened before it is read.

    Args:
        folder: holds the class folders, and in them the images.

    Raises:
        DataError: there are no class folders, or one of them holds no image.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        self.class_names = _class_folders(folder)
        names, labels = [], []
        for label, class_name in enumerate(self.class_names):
            found = _images(folder / class_name)
            names += found
            labels += [label] * len(found)
        # Two arrays in place of a million objects: 40 MB for ImageNet, and soon pickled.
        self._names = np.array([os.fsencode(name) for name in names])
        self._labels = np.array(labels, np.int32)

    def __len__(self) -> int:
        return len(self._names)

    def read(self, numbers: Sequence[int]) -> list[Record]:
        """The records of these numbers; the data of a file that cannot be read is empty."""
        return [self._read(number) for number in numbers]

    def _read(self, number: int) -> Record:
        label = int(self._labels[number])
        path = os.path.join(self.folder, self.class_names[label], os.fsdecode(bytes(self._names[number])))
        try:
            with open(path, "rb", buffering=0) as file:
                return Record(file.read(), label, path)
        except OSError:
            return Record(b"", label, path)


def open_folder(path: str | os.PathLike[str]) -> tuple[FolderSource, FolderSource]:
    """The training and the test images of `PATH/train` and `PATH/val` (or `validation`, or `test`).

    Raises:
        DataError: a folder is missing, has no classes or an empty one, or the classes of the two differ.
    """
    path = Path(path).expanduser()
    if not path.is_dir():
        raise DataError(f"{path}: no such folder. Accepted: {_LAYOUT}")
    if not (path / "train").is_dir():
        raise DataError(f"{path}: no folder 'train' in it. Accepted: {_LAYOUT}")
    test = next((path / name for name in _TEST_FOLDERS if (path / name).is_dir()), None)
    if test is None:
        wanted = " or ".join(map(repr, _TEST_FOLDERS))
        raise DataError(f"{path}: no folder of test images in it, {wanted}. Accepted: {_LAYOUT}")
    learned, tested = set(_class_folders(path / "train")), set(_class_folders(test))
    if learned != tested:
        fault = [f"only in train: {_few(learned - tested)}"] * bool(learned - tested)
        fault += [f"only in {test.name}: {_few(tested - learned)}"] * bool(tested - learned)
        raise DataError(f"{path}: the class folders of train and {test.name} differ: {'; '.join(fault)}")
    return FolderSource(path / "train"), FolderSource(test)


def _class_folders(folder: Path) -> tuple[str, ...]:
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise DataError(f"{folder}: no class folders in it. Accepted: {_LAYOUT}")
    return tuple(names)


def _images(folder: Path) -> list[str]:
    """The names of a class folder's images, sorted. No file is looked at: a set may have a million."""
    with os.scandir(folder) as entries:
        names = sorted(e.name for e in entries if e.name.lower().endswith(EXTENSIONS) and not e.name.startswith("."))
    if not names:
        raise DataError(f"{folder}: no image in this class folder. Accepted: {', '.join(EXTENSIONS)}")
    return names


def _few(names: set[str], most: int = 3) -> str:
    listed = ", ".join(map(repr, sorted(names)[:most]))
    return f"{listed} and {len(names) - most} more" if len(names) > most else listed
