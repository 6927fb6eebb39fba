"""Model files: Keras's own `.keras` archive, with what a user must know of the model in one further member.

Plain Keras opens such a file and passes the member over.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from .models.builder import allow_depth

MEMBER = "keras_resnet.json"
PARTIAL = ".partial-"  # what the names of files that are being written begin with


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Writes a file whole or not at all.

    Args:
        path: the file.
        write: writes the contents to the path it is given, which lies beside `path` and has its suffix.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{PARTIAL}{os.getpid()}-{path.name}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_partial(folder: Path) -> None:
    """Removes what a process that was killed while it wrote has left in a folder."""
    for path in folder.glob(f"{PARTIAL}*"):
        path.unlink()


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file whole or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def save(model: keras.Model, path: str | Path, info: dict[str, Any]) -> None:
    """Writes a model and what is known of it as one `.keras` file, whole or not at all.

    Args:
        model: any Keras model; if it is compiled, its optimizer's state is written too.
        path: the file, ending in `.keras`.
        info: what is known of it, as JSON takes it: class names, data set, network.
    """

    def write(temporary: Path) -> None:
        model.save(temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(MEMBER, json.dumps(info))

    write_atomically(Path(path), write)


def read_info(path: str | Path) -> dict[str, Any]:
    """What `save` was told of a model; empty for a file that another program wrote.

    Raises:
        ValueError: no such file, or no `.keras` file.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"There is no model file {str(path)!r}. Give a `.keras` file or the folder of a finished run.")
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read(MEMBER)) if MEMBER in archive.namelist() else {}
    except (zipfile.BadZipFile, json.JSONDecodeError) as error:
        raise ValueError(
            f"{str(path)!r} is no whole `.keras` file: {error}. Give a `.keras` file or the folder of a finished run."
        ) from error


def load(path: str | Path) -> tuple[keras.Model, dict[str, Any]]:
    """Opens a model file for inference.

    Returns:
        The model, not compiled, and what is known of it.

    Raises:
        ValueError: no such file, no `.keras` file, or one that Keras cannot open.
    """
    info = read_info(path)
    try:
        with zipfile.ZipFile(path) as archive:
            layers = json.loads(archive.read("config.json"))["config"].get("layers", ())
        allow_depth(len(layers))
        return keras.saving.load_model(path, compile=False), info
    except Exception as error:  # whatever Keras stumbles over in a damaged or foreign file
        raise ValueError(
            f"Keras cannot open {str(path)!r}: {first_line(error)} Give a `.keras` file that Keras has written."
        ) from error


def first_line(error: Exception) -> str:
    """What an error says, in a line."""
    line = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    return f"{line[:200].rstrip('. ')}."
