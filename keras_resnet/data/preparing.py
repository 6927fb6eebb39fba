"""Sets that are not there yet: tensorflow-datasets downloads and prepares them, for one process at a time."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import filelock

from ..extras import install
from ..saving import first_line
from .bad_images import LOG
from .errors import DataError

if TYPE_CHECKING:
    from tensorflow_datasets.core import DatasetBuilder


def prepare(builder: DatasetBuilder, folder: Path) -> None:
    """Downloads a set and prepares it as `array_record`, unless another process does so meanwhile.

    Args:
        builder: of the set.
        folder: where the set lies when it is prepared; nothing is there yet.

    Raises:
        DataError: its archives must be fetched by hand, TensorFlow is not installed, a preparation was cut short here,
            or this one fails.
    """
    _check_possible(builder, folder)
    with _alone(builder.name, folder):
        if folder.exists():  # the process that was waited for has prepared it
            return
        # Not removed, though no process of this package is at it: another program of tensorflow-datasets may be.
        if leftover := next(folder.parent.glob("incomplete.*"), None):
            raise DataError(
                f"{leftover}: a preparation of {builder.name} was cut short here, or another program of "
                "tensorflow-datasets is at it. Wait for that to end, or delete this folder, and run again."
            )
        try:
            # tfds tells its progress on stdout, which is the caller's.
            with redirect_stdout(sys.stderr), _unwinding_at_sigterm():
                builder.download_and_prepare(file_format="array_record")
        except Exception as error:
            message = f"{folder}: {builder.name} could not be downloaded and prepared: {first_line(error)}"
            raise DataError(message) from error


def _check_possible(builder: DatasetBuilder, folder: Path) -> None:
    manual = folder.parents[builder.info.full_name.count("/")] / "downloads" / "manual"
    if builder.MANUAL_DOWNLOAD_INSTRUCTIONS and not (manual.is_dir() and any(manual.iterdir())):
        raise DataError(
            f"{folder}: no prepared {builder.name} here, and its archives must be fetched by hand. "
            f"{' '.join(builder.MANUAL_DOWNLOAD_INSTRUCTIONS.split())} The manual_dir is {manual}. Run again when they "
            "are there, with TensorFlow installed to prepare them, or give a data_dir that holds it as array_record."
        )
    if find_spec("tensorflow") is None:
        raise DataError(
            f"{folder}: no prepared {builder.name} here, and preparing it needs TensorFlow: "
            f"{install('tensorflow')}, or give a data_dir that holds it as array_record."
        )


@contextlib.contextmanager
def _alone(name: str, folder: Path) -> Iterator[None]:
    """Holds a lock beside the set, which the system releases when this process ends, however it ends; waits for it."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder.parent / ".lock", mode=0o666)  # for whoever may write to this folder
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            LOG.warning("Waiting for another process, which prepares %s in %s", name, folder.parent)
            lock.acquire()
    except OSError as error:
        raise DataError(f"{folder}: {name} cannot be prepared here: {first_line(error)}") from error
    try:
        yield
    finally:
        lock.release()


class _TerminatedError(BaseException):
    """SIGTERM came. No `Exception`, so that nothing on the way takes it for an error of its own."""


@contextlib.contextmanager
def _unwinding_at_sigterm() -> Iterator[None]:
    """Has SIGTERM end this process as it would anyway, but after tensorflow-datasets has removed what is half done."""

    def terminate(*_: object) -> None:
        raise _TerminatedError

    in_charge = threading.current_thread() is threading.main_thread()
    if not in_charge or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except _TerminatedError:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
