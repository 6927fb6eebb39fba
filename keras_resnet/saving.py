"""Model files: Keras's `.keras` archive with two more members, which plain Keras ignores.

keras_resnet.json   information about the model: class names, data set, network
SHA256SUMS          checksums of all other members, in the format of `sha256sum --check`
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .files import FULL, first_line, write_atomically

if TYPE_CHECKING:
    import keras

MEMBER = "keras_resnet.json"
SUMS = "SHA256SUMS"


def save(model: keras.Model, path: str | Path, info: dict[str, Any]) -> None:
    """Saves a model and information about it as a `.keras` file, completely or not at all.

    Args:
        model: any Keras model; if it is compiled, the optimizer's state is saved too.
        path: the file, ending in `.keras`.
        info: JSON-serialisable information about the model: class names, data set, network.

    Raises:
        ValueError: `path` does not end in `.keras`; Keras would choose another format, or none.
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
    """Returns the SHA-256 checksum of every member except the checksums themselves."""
    digests = {}
    for name in archive.namelist():
        if name != SUMS:
            with archive.open(name) as member:
                digests[name] = hashlib.file_digest(member, "sha256").hexdigest()  # type: ignore[arg-type]  # zipfile's hint is too wide
    return digests


def verify(path: str | Path) -> None:
    """Checks a model file against its checksums. A file that another program wrote has none, and passes.

    Raises:
        ValueError: the file is truncated or has been changed.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if SUMS not in archive.namelist():
                return
            lines = archive.read(SUMS).decode().splitlines()
            recorded = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
            actual = _digests(archive)
            changed = [name for name in {**recorded, **actual} if recorded.get(name) != actual.get(name)]
    except Exception as error:  # zipfile and zlib raise many kinds
        raise ValueError(
            f"{str(path)!r} is damaged: {first_line(error)} Give a `.keras` file that is intact."
        ) from error
    if changed:
        raise ValueError(
            f"{str(path)!r} is damaged: {changed[0]} does not match its checksum. Give a `.keras` file that is intact."
        )


def model_file(path: str | Path) -> Path:
    """Returns the path of a model file: `path` itself, or the model file in it if it is a run's folder.

    "~" at its beginning stands for the home folder.

    Raises:
        ValueError: `path` is no path.
    """
    if not isinstance(path, str | os.PathLike):
        raise ValueError(
            f"A model file must be given by its path, or by that of a run's folder. Received: {type(path).__name__}"
        )
    path = Path(os.path.expanduser(path))  # `Path.expanduser` raises an error for a name such as "~old.keras"
    return path / "model.keras" if path.is_dir() else path


def read_info(path: str | Path) -> dict[str, Any]:
    """Returns the `info` that `save` was given with a model; empty for a file that another program wrote.

    Args:
        path: a `.keras` file, or the folder of a run.

    Raises:
        ValueError: the file does not exist, or is not an intact `.keras` file.
    """
    path = model_file(path)
    if not path.is_file():
        raise ValueError(f"There is no model file {str(path)!r}. Give a `.keras` file or the folder of a finished run.")
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read(MEMBER)) if MEMBER in archive.namelist() else {}
    except OSError:
        raise
    except Exception as error:  # zipfile and zlib raise many kinds
        raise ValueError(
            f"{str(path)!r} is not a valid `.keras` file: {error}. "
            "Give a `.keras` file or the folder of a finished run."
        ) from error


def load(path: str | Path) -> tuple[keras.Model, dict[str, Any]]:
    """Loads a model file for inference.

    Args:
        path: a `.keras` file, or the folder of a run.

    Returns:
        The model, not compiled, and the information that was saved with it.

    Raises:
        ValueError: the file does not exist, is not a `.keras` file, is damaged, or cannot be opened by Keras.
        OSError: there is no space for a temporary copy.
    """
    import keras  # not at the top: `read_info` must work before a backend is selected

    from .models.builder import allow_depth
    from .models.fast_layers import REGISTERED, has_fast_normal, use_fast_layers

    path = model_file(path)
    info = read_info(path)
    verify(path)
    try:
        with zipfile.ZipFile(path) as archive:
            allow_depth(archive.read("config.json").count(b'"class_name"'))  # at least the number of layers
        with _registered(path) if has_fast_normal() else contextlib.nullcontext(path) as file:
            return use_fast_layers(keras.saving.load_model(file, REGISTERED, compile=False)), info
    except Exception as error:  # Keras raises many kinds for a damaged or foreign file
        if isinstance(error, OSError) and error.errno in FULL:
            raise OSError(
                error.errno, f"{os.strerror(error.errno)}: a copy of {str(path)!r} in", tempfile.gettempdir()
            ) from error
        raise ValueError(
            f"Keras cannot open {str(path)!r}: {first_line(_cause(error))} Give a `.keras` file of Keras's own layers; "
            "open one with other layers in Python, and pass the model."
        ) from error


def load_model(path: str | Path) -> keras.Model:
    """Opens a model for inference: as `keras.saving.load_model` does, but with the fast kernels of this package.

    Networks of any depth open, and damaged files are detected.

    Args:
        path: a `.keras` file, or the folder of a run.

    Returns:
        The model, not compiled.

    Raises:
        ValueError: the file does not exist, is not a `.keras` file, is damaged, or has layers that are not Keras's.
        OSError: there is no space for a temporary copy.

    Example:
        >>> model = keras_resnet.load_model("runs/cifar10-resnet56")
        >>> keras_resnet.decode_predictions(model.predict(images), labels="runs/cifar10-resnet56")
    """
    return load(path)[0]


@contextlib.contextmanager
def _registered(path: Path) -> Iterator[Path]:
    """Yields a copy of a model file with the initializers of `REGISTERED`: Keras draws weights before it reads them."""
    from .models.fast_layers import register

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        with zipfile.ZipFile(path) as archive, zipfile.ZipFile(copy, "w") as copied:
            for member in archive.infolist():
                entry = zipfile.ZipInfo(member.filename)
                entry.compress_type = member.compress_type  # so that Keras still refuses what would expand too much
                with archive.open(member) as source, copied.open(entry, "w", force_zip64=True) as target:
                    if member.filename == "config.json":
                        target.write(json.dumps(json.load(source, object_hook=register)).encode())
                    else:
                        shutil.copyfileobj(source, target, 1 << 20)
        yield copy


def _cause(error: BaseException) -> BaseException:
    """Returns the innermost cause of an error: Keras's outermost one names the model only, and not the layer."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return error
