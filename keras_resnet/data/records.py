"""Sources of the encoded images of a stream, which return any of their images by number."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from .errors import DataError
from .images import EXTENSIONS, walk_images

_TEST_FOLDERS = ("val", "validation", "test")
_LAYOUT = "one folder of images per class in PATH/train, and the same in PATH/val"


class Record(NamedTuple):
    """An encoded image.

    Attributes:
        data: the file's bytes; empty if it cannot be read.
        label: the index of its class.
        name: identifies the image in messages: a path, or the key of a record.
    """

    data: bytes
    label: int
    name: str


class Source(Protocol):
    """Labelled images by number, from 0. Sources are pickled to worker processes, so they open their files late."""

    class_names: tuple[str, ...]

    def __len__(self) -> int: ...

    def read(self, numbers: Sequence[int]) -> list[Record]:
        """Returns the records of these numbers, in the order given."""


class FolderSource:
    """The images in a folder of class folders, whose names in alphabetical order are the classes.

    Images in subfolders of a class folder belong to its class. The folders are listed once. An image is a file whose
    name ends in one of `EXTENSIONS`; other files are ignored. No file is opened before it is read.

    Args:
        folder: contains the class folders, which contain the images, also in subfolders.

    Attributes:
        class_names: one name per class.
        digest: a digest of the names of all classes and images, wherever the folder lies. Sizes and contents are not
            part of it, since inspecting a million files takes minutes.

    Raises:
        DataError: there are no class folders, or one of them contains no images.
        OSError: a folder cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        self.class_names = _class_folders(folder)
        names, labels, digest = [], [], hashlib.sha256()
        for label, class_name in enumerate(self.class_names):
            class_images = _images(folder / class_name)
            digest.update(os.fsencode("\0".join((class_name, *class_images, "/"))))  # no file is called "/"
            names += class_images
            labels += [label] * len(class_images)
        # Two arrays instead of a million objects take 40 MB for ImageNet and are pickled fast.
        self._names = np.array([os.fsencode(name) for name in names])
        self._labels = np.array(labels, np.int32)
        self.digest = digest.hexdigest()

    def __len__(self) -> int:
        return len(self._names)

    def read(self, numbers: Sequence[int]) -> list[Record]:
        """Returns the records of these numbers; the data of a file that cannot be read is empty."""
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
    """Opens the training images in `PATH/train` and the test images in `PATH/val` (or `validation`, or `test`).

    Raises:
        DataError: a folder is missing, has no classes or an empty class, or the two have different classes.
    """
    path = Path(os.path.expanduser(path))
    if not path.is_dir():
        raise DataError(f"{path}: no such folder. Accepted: {_LAYOUT}")
    if not (path / "train").is_dir():
        raise DataError(f"{path}: no folder 'train' in it. Accepted: {_LAYOUT}")
    test = next((path / name for name in _TEST_FOLDERS if (path / name).is_dir()), None)
    if test is None:
        names = " or ".join(map(repr, _TEST_FOLDERS))
        raise DataError(f"{path}: no folder of test images in it, named {names}. Accepted: {_LAYOUT}")
    train_classes, test_classes = set(_class_folders(path / "train")), set(_class_folders(test))
    if train_classes != test_classes:
        only_in = {"train": train_classes - test_classes, test.name: test_classes - train_classes}
        differences = [f"only in {name}: {_abbreviated(classes)}" for name, classes in only_in.items() if classes]
        raise DataError(f"{path}: the class folders of train and {test.name} differ: {'; '.join(differences)}")
    return FolderSource(path / "train"), FolderSource(test)


def _class_folders(folder: Path) -> tuple[str, ...]:
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise DataError(f"{folder}: no class folders in it. Accepted: {_LAYOUT}")
    return tuple(names)


def _images(folder: Path) -> list[str]:
    """Returns the sorted names of a class folder's images, relative to it, those in its subfolders included."""
    names = []
    for parent, images in walk_images(folder):
        below = os.path.relpath(parent, folder)
        names += images if below == os.curdir else [os.path.join(below, name) for name in images]
    if not names:
        raise DataError(f"{folder}: no image in this class folder. Accepted: {', '.join(EXTENSIONS)}")
    return sorted(names)


def _abbreviated(names: set[str]) -> str:
    listed = ", ".join(map(repr, sorted(names)[:3]))
    return f"{listed} and {len(names) - 3} more" if len(names) > 3 else listed
