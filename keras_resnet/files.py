"""Files and folders that are written completely or not at all, locks of folders, full disks, and ends by a signal."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import math
import os
import re
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock

PARTIAL = ".partial-"  # prefix of the names of files that are being written
UNKNOWN = "unknown"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no space, or more than a user or a file may have


class FolderInUseError(ValueError):
    """Another process has locked the folder."""


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Writes a file completely or not at all, even if the machine stops.

    Args:
        path: the file, whose folder is created if it does not exist; of a symbolic link, the file that it points to.
        write: writes the contents to the path it is given: a temporary file in the same folder, with the same suffix.

    Raises:
        IsADirectoryError: `path` is a folder; nothing has been written.
        OSError: the file cannot be written, such as because the disk is full.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    path = Path(os.path.realpath(path)) if path.is_symlink() else path  # a link may lead to a larger disk
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path.parent)
    temporary = _temporary(path)
    try:
        with full_disk_reported(path):
            write(temporary)
        to_disk(temporary)  # or a file system may store the new name before the contents
        os.replace(temporary, path)
        to_disk(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def folder_atomically(path: Path) -> Iterator[Path]:
    """Writes a folder completely or not at all: yields a temporary folder, which is renamed at the end.

    The parent folder must be locked: temporary files and folders of other processes are removed from it.

    Args:
        path: the folder, which must not exist yet.
    """
    remove_partial(path.parent)
    temporary = _temporary(path)
    temporary.mkdir(parents=True)
    try:
        with full_disk_reported(path):
            yield temporary
        for inner in temporary.rglob("*"):
            to_disk(inner)
        to_disk(temporary)
        os.rename(temporary, path)
        to_disk(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


class _TerminatedError(BaseException):
    """Raised on SIGTERM. It is no `Exception`, so that no handler on the way up catches it."""


@contextlib.contextmanager
def unwinding_at_sigterm() -> Iterator[None]:
    """Context manager that delays the end of the process by SIGTERM until incomplete files have been removed.

    In other threads than the main one, and where something else handles the signal, it changes nothing.
    """

    def terminate(*_: object) -> None:
        raise _TerminatedError

    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
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


@contextlib.contextmanager
def lock(folder: Path, does: str, choose: str = "another folder with --out") -> Iterator[None]:
    """Creates a folder and locks it for this process. The system releases the lock of a process that is killed.

    Args:
        folder: the folder.
        does, choose: for the error: what a process does that locks it, "trains in", and what to choose instead.

    Raises:
        FolderInUseError: another process has locked it.
        OSError: it cannot be created, or its file system does not support locks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise FolderInUseError(
            f"Another process {does} {str(folder)!r} now. Wait for it, or choose {choose}."
        ) from None
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno, f"The folder cannot be locked: {error.strerror or error}", str(folder)) from error
    try:
        yield
    finally:
        lock.release()


def _temporary(path: Path) -> Path:
    """Returns the temporary path of a file or folder, with its suffix; the name is cut so that it is not too long."""
    return path.with_name(f"{partial_prefix()}{path.name[-50:]}")


def partial_prefix() -> str:
    """Returns what the names of this process's temporary files begin with, so that others can tell whether it runs."""
    return f"{PARTIAL}{_place()}-{os.getpid()}-"


def remove_partial(folder: Path) -> None:
    """Removes the temporary files and folders of processes that were killed while they wrote to a locked folder."""
    for path in folder.glob(f"{PARTIAL}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@functools.cache  # once per process, since a folder may hold many files
def _remove_abandoned(folder: Path) -> None:
    """Removes the temporary files and folders of processes of this machine that no longer run.

    Those of another machine that shares the folder, or of another container, stay: their processes may be running.
    """
    if _place() == UNKNOWN:
        return
    for path in folder.glob(f"{PARTIAL}{_place()}-*"):
        process = re.match(r"\d{1,9}(?=-)", path.name.removeprefix(f"{PARTIAL}{_place()}-"))
        if process and not _runs(int(process[0])):
            with contextlib.suppress(OSError):  # such as another user's
                shutil.rmtree(path) if path.is_dir() else path.unlink()


@functools.cache
def _place() -> str:
    """Returns a name for the processes that this one can see, and among which their ids are unique.

    They are those of a running kernel and, within it, of a process namespace: each container has its own. The host's
    name would not do, since containers and machines may share it.
    """
    try:
        boot, namespace = Path("/proc/sys/kernel/random/boot_id").read_text(), os.stat("/proc/self/ns/pid").st_ino
    except OSError:  # not on Linux
        return UNKNOWN
    return hashlib.sha256(f"{boot} {namespace}".encode()).hexdigest()[:12]


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)  # sends nothing
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to another user
        return True
    return True


def printable(name: str) -> str:
    """Returns a name as text: of the name of a file that is not UTF-8, the bytes that are none are escaped."""
    return name.encode("utf-8", "backslashreplace").decode()


def write_text(path: Path, text: str) -> None:
    """Writes a text file completely or not at all. Names of files in it may be any, see `printable`."""
    write_atomically(path, lambda temporary: temporary.write_text(printable(text), encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file completely or not at all."""
    write_text(path, json_text(value) + "\n")


def json_text(value: Any) -> str:
    """Returns a value as indented JSON. Numbers that are not finite, which JSON does not have, become null."""
    return json.dumps(_finite(value), indent=2, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(inner) for name, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """Reads a JSON file that holds an object.

    Args:
        path: the file.
        remedy: a sentence that says what to do if the file is damaged, for the error.

    Raises:
        ValueError: the file is not UTF-8, not JSON, or not an object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise ValueError("it is not a JSON object")
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is damaged: {error}. {remedy}") from error
    return value


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
    probe = path.with_name(f"{partial_prefix()}probe")
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
        os.fsync(descriptor)  # at which a full disk of another machine may be noticed
    except OSError as error:
        if error.errno != errno.EINVAL or not path.is_dir():  # some file systems, such as /proc, refuse it for folders
            raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(descriptor)


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message as a sentence, cut to its sentences or words of 200 characters."""
    line = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    if len(line) > 200:
        sentences, words = (line[:200].rpartition(end)[0] for end in (". ", " "))
        line = sentences or f"{words or line[:200]} ..."
    return line if line.endswith(" ...") else f"{line.rstrip('. ')}."
