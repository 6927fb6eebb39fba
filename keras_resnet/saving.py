"""Model files: Keras's own `.keras` archive with two members more, which plain Keras passes over.

keras_resnet.json   what a user must know of the model
SHA256SUMS          a checksum of every other member, as `sha256sum --check` reads it
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock

if TYPE_CHECKING:
    import keras

MEMBER = "keras_resnet.json"
SUMS = "SHA256SUMS"
PARTIAL = ".partial-"  # what the names of files that are being written begin with


class FolderInUseError(ValueError):
    """Another process holds the folder."""


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Writes a file whole or not at all, also when the machine stops.

    Args:
        path: the file.
        write: writes the contents to the path it is given, which lies beside `path` and has its suffix.

    Raises:
        IsADirectoryError: the path is a folder, which is found before anything is written.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{PARTIAL}{os.getpid()}-{path.name}")
    try:
        write(temporary)
        _to_disk(temporary)  # or a file system may put the name in place before what it names
        os.replace(temporary, path)
        _to_disk(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    if os.name != "posix":  # Windows opens no folder
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def folder_atomically(path: Path) -> Iterator[Path]:
    """Writes a folder whole or not at all: yields another beside it, which takes its name in the end.

    Args:
        path: the folder, which is not there yet.
    """
    remove_partial(path.parent)
    temporary = path.with_name(f"{PARTIAL}{os.getpid()}-{path.name}")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for inner in temporary.rglob("*"):
            _to_disk(inner)
        _to_disk(temporary)
        os.rename(temporary, path)
        _to_disk(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def lock(folder: Path, does: str) -> Iterator[None]:
    """Makes a folder and holds it for this process; a process that is killed holds nothing.

    Args:
        folder: the folder.
        does: what whoever holds it does there, such as "trains in".

    Raises:
        FolderInUseError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise FolderInUseError(
            f"Another process {does} {str(folder)!r} now. Wait for it, or choose another folder with --out."
        ) from None
    try:
        yield
    finally:
        lock.release()


def remove_partial(folder: Path) -> None:
    """Removes what a process that was killed while it wrote has left in a folder."""
    for path in folder.glob(f"{PARTIAL}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file whole or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """Reads an object from a JSON file.

    Args:
        path: the file.
        remedy: what can be done if it is damaged, in a sentence.

    Raises:
        ValueError: it is damaged.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise ValueError("it is not a JSON object")
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is damaged: {error}. {remedy}") from error
    return value


def save(model: keras.Model, path: str | Path, info: dict[str, Any]) -> None:
    """Writes a model and what is known of it as one `.keras` file, whole or not at all.

    Args:
        model: any Keras model; if it is compiled, its optimizer's state is written too.
        path: the file, ending in `.keras`.
        info: what is known of it, as JSON takes it: class names, data set, network.

    Raises:
        ValueError: another ending, by which Keras would choose another format or none.
    """
    if Path(path).suffix != ".keras":
        raise ValueError(f"`path` must end in .keras. Received: {str(path)!r}")

    def write(temporary: Path) -> None:
        model.save(temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(MEMBER, json.dumps(info))
            archive.writestr(SUMS, "".join(f"{digest}  {name}\n" for name, digest in _digests(archive).items()))

    write_atomically(Path(path), write)


def _digests(archive: zipfile.ZipFile) -> dict[str, str]:
    """The SHA-256 of every member but the sums themselves."""
    found = {}
    for name in archive.namelist():
        if name != SUMS:
            with archive.open(name) as member:
                found[name] = hashlib.file_digest(member, "sha256").hexdigest()
    return found


def verify(path: str | Path) -> None:
    """Holds a file that `save` wrote against its checksums; one that another program wrote has none and passes.

    Raises:
        ValueError: the file is torn or changed.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if SUMS not in archive.namelist():
                return
            lines = archive.read(SUMS).decode().splitlines()
            noted = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
            found = _digests(archive)
            changed = [name for name in {**noted, **found} if noted.get(name) != found.get(name)]
    except Exception as error:  # whatever zipfile stumbles over
        raise ValueError(
            f"{str(path)!r} is damaged: {first_line(error)} Give a `.keras` file that is whole."
        ) from error
    if changed:
        raise ValueError(
            f"{str(path)!r} is damaged: the checksum of {changed[0]} does not fit. Give a `.keras` file that is whole."
        )


def model_file(path: str | Path) -> Path:
    """The model file that a path means: itself, or the one of a run's folder."""
    path = Path(path)
    return path / "model.keras" if path.is_dir() else path


def read_info(path: str | Path) -> dict[str, Any]:
    """What `save` was told of a model; empty for a file that another program wrote.

    Args:
        path: a `.keras` file, or the folder of a run.

    Raises:
        ValueError: no such file, or no `.keras` file.
    """
    path = model_file(path)
    if not path.is_file():
        raise ValueError(f"There is no model file {str(path)!r}. Give a `.keras` file or the folder of a finished run.")
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read(MEMBER)) if MEMBER in archive.namelist() else {}
    except OSError:
        raise
    except Exception as error:  # whatever zipfile stumbles over
        raise ValueError(
            f"{str(path)!r} is no whole `.keras` file: {error}. Give a `.keras` file or the folder of a finished run."
        ) from error


def load(path: str | Path) -> tuple[keras.Model, dict[str, Any]]:
    """Opens a model file for inference.

    Args:
        path: a `.keras` file, or the folder of a run.

    Returns:
        The model, not compiled, and what is known of it.

    Raises:
        ValueError: no such file, no `.keras` file, a damaged one, or one that Keras cannot open.
    """
    import keras  # here alone: what a file says of itself can be read before a backend is chosen

    from .models.builder import allow_depth
    from .models.fast_layers import REGISTERED, has_fast_normal, use_fast_layers

    path = model_file(path)
    info = read_info(path)
    verify(path)
    try:
        with zipfile.ZipFile(path) as archive:
            allow_depth(archive.read("config.json").count(b'"class_name"'))  # of layers, and more
        with _registered(path) if has_fast_normal() else contextlib.nullcontext(path) as file:
            return use_fast_layers(keras.saving.load_model(file, REGISTERED, compile=False)), info
    except Exception as error:  # whatever Keras stumbles over in a damaged or foreign file
        raise ValueError(
            f"Keras cannot open {str(path)!r}: {first_line(_cause(error))} Give a `.keras` file of Keras's own layers; "
            "one with others, open in Python and pass the model."
        ) from error


@contextlib.contextmanager
def _registered(path: Path) -> Iterator[Path]:
    """A copy of a model file whose initializers are those of `REGISTERED`: Keras draws weights before it reads them."""
    from .models.fast_layers import register

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        with zipfile.ZipFile(path) as archive, zipfile.ZipFile(copy, "w") as changed:
            for member in archive.infolist():
                same = zipfile.ZipInfo(member.filename)
                same.compress_type = member.compress_type  # for what expands to too much, Keras refuses to read
                with archive.open(member) as source, changed.open(same, "w", force_zip64=True) as target:
                    if member.filename == "config.json":
                        target.write(json.dumps(json.load(source, object_hook=register)).encode())
                    else:
                        shutil.copyfileobj(source, target, 1 << 20)
        yield copy


def _cause(error: BaseException) -> BaseException:
    """The error that others were raised for: Keras's outermost says that a model, not which of its layers."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__
    return error


def first_line(error: BaseException) -> str:
    """What an error says, in a line."""
    line = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    if len(line) > 200:
        line = line[:200].rpartition(". ")[0] or line[:200]
    return f"{line.rstrip('. ')}."
