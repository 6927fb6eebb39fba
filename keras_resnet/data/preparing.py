"""Downloads and prepares missing sets with tensorflow-datasets, in one process at a time."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import filelock

from ..extras import install
from ..files import first_line, folder_atomically, unwinding_at_sigterm
from .bad_images import LOG
from .errors import DataError

if TYPE_CHECKING:
    from tensorflow_datasets.core import DatasetBuilder


def prepare(builder: DatasetBuilder, folder: Path) -> None:
    """Downloads a set and prepares it as `array_record`, unless another process has done so in the meantime.

    It is prepared in a temporary folder. That of a process that was killed is removed by the next one.

    Args:
        builder: the builder of the set.
        folder: the folder in which the set will be stored; it does not exist yet.

    Raises:
        DataError: the archives must be downloaded manually, TensorFlow is not installed, another program is preparing
            the set or was interrupted, or this preparation fails.
    """
    root = folder.parents[builder.info.full_name.count("/")]
    _check_possible(builder, folder, root / "downloads" / "manual")
    with _locked(builder.name, folder):
        if folder.exists():  # the process that held the lock has prepared it
            return
        # Not removed: it is not this package's, and the other program may be running.
        if leftover := next(folder.parent.glob("incomplete.*"), None):
            raise DataError(
                f"{leftover}: another program with tensorflow-datasets is preparing {builder.name}, or was interrupted "
                "while it did. Wait for it to end, or delete this folder, then run again."
            )
        try:
            # tfds writes its progress to stdout, which is reserved for the caller's output.
            with redirect_stdout(sys.stderr), unwinding_at_sigterm(), folder_atomically(folder) as temporary:
                _prepare_in(temporary, builder, root / "downloads")
        except Exception as error:
            message = f"{folder}: {builder.name} could not be downloaded and prepared: {first_line(error)}"
            raise DataError(message) from error


def _prepare_in(folder: Path, builder: DatasetBuilder, downloads: Path) -> None:
    """Downloads a set and prepares it in a folder, which is then like the one that the builder would write."""
    import tensorflow_datasets as tfds

    *name, version = builder.info.full_name.split("/")
    own = tfds.builder(f"{'/'.join(name)}:{version}", data_dir=folder)
    own.download_and_prepare(file_format="array_record", download_dir=str(downloads))
    for path in Path(own.data_path).iterdir():
        path.rename(folder / path.name)
    shutil.rmtree(folder / name[0])


def _check_possible(builder: DatasetBuilder, folder: Path, manual: Path) -> None:
    if builder.MANUAL_DOWNLOAD_INSTRUCTIONS and not (manual.is_dir() and any(manual.iterdir())):
        raise DataError(
            f"{folder}: no prepared {builder.name} here, and its archives must be downloaded manually. "
            f"{' '.join(builder.MANUAL_DOWNLOAD_INSTRUCTIONS.split())} The manual_dir is {manual}. Run again when they "
            "are in place, with TensorFlow installed to prepare them, or give a data_dir that holds it as array_record."
        )
    if find_spec("tensorflow") is None:
        raise DataError(
            f"{folder}: no prepared {builder.name} here, and preparing it needs TensorFlow: "
            f"{install('tensorflow')}, or give a data_dir that holds it as array_record."
        )


@contextlib.contextmanager
def _locked(name: str, folder: Path) -> Iterator[None]:
    """Waits for and holds a lock file beside the set; the system releases it however the process ends."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder.parent / ".lock", mode=0o666)  # for all users who may write to this folder
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            LOG.warning("Waiting for another process to prepare %s in %s", name, folder.parent)
            lock.acquire()
    except OSError as error:
        raise DataError(f"{folder}: {name} cannot be prepared here: {first_line(error)}") from error
    try:
        yield
    finally:
        lock.release()
