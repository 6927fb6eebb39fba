"""What a disk does to a file: it keeps it after a power failure, or has no space for it."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

PARTIAL = ".partial-"  # prefix of the names of files that are being written
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no space, or more than a user or a file may have


@contextlib.contextmanager
def full_disk_reported(path: Path) -> Iterator[None]:
    """Context manager that replaces an error by an OSError with the path if the disk is full.

    Libraries report a full disk each in its own way: TensorFlow as exhausted resources, OpenVINO, Torch and safetensors
    as errors of their own, and some Python code without the path.

    Args:
        path: the file or folder that is written within the context, to the same folder and under another name.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL or error.filename is not None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
    except Exception as error:
        if number := _full(path, str(error)):
            raise OSError(number, os.strerror(number), str(path)) from error
        raise


def _full(path: Path, message: str) -> int | None:
    """Returns the number of the system's error if an error's message quotes it, or a small file cannot be written."""
    for number in FULL:  # a library may have removed its incomplete file, so that there is space again
        if os.strerror(number) in message:
            return number
    probe = path.with_name(f"{PARTIAL}{os.getpid()}-probe")
    try:
        probe.write_bytes(bytes(1 << 20))
        to_disk(probe)
    except OSError as error:
        return error.errno if error.errno in FULL else None
    finally:
        probe.unlink(missing_ok=True)
    return None


def to_disk(path: Path) -> None:
    """Writes what the system still holds of a file or folder to the disk."""
    if os.name != "posix":  # Windows cannot open folders
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
