"""Selects the backend before Keras is imported. Importing this module imports no backend."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator

from ..extras import install
from . import import_blocker
from .onednn import is_x86

BACKENDS = ("tensorflow", "jax", "torch")  # the names are Keras's, and those of the modules


def select_backend(choice: str | None = None) -> str:
    """Selects the backend that Keras will use, before Keras is imported.

    For programs that own their process, such as this package's command: it also sets the variables of `environment`
    that are not set, and blocks the imports listed in `import_blocker`.

    Args:
        choice: a backend; None for that of `KERAS_BACKEND`, else the one that Keras already runs on, else the first one
            that is installed.

    Returns:
        The backend's name.

    Raises:
        ValueError: the backend is unknown or not installed, no backend is installed, or Keras already runs on another.
    """
    running = sys.modules["keras"].config.backend() if "keras" in sys.modules else None
    default = next((name for name in (running, *BACKENDS) if name in BACKENDS and _installed(name)), None)
    name = choice or os.environ.get("KERAS_BACKEND") or default
    if name is None:
        raise ValueError(f"Keras needs a backend: {install(*BACKENDS)}")
    if name not in BACKENDS:
        given_by = "" if choice else " in the environment variable KERAS_BACKEND"
        raise ValueError(f"Unknown backend {name!r}{given_by}. Accepted: {', '.join(BACKENDS)}")
    if not _installed(name):
        raise ValueError(f"The backend {name!r} is not installed: {install(name)}")
    if running not in (None, name):
        raise ValueError(f"Keras already runs on {running!r} in this process. Received: {name!r}")
    os.environ["KERAS_BACKEND"] = name
    for variable, value in environment().items():
        os.environ.setdefault(variable, value)
    if "keras" not in sys.modules:
        import_blocker.block_imports(name)
    if name == "tensorflow":
        with silenced():
            importlib.import_module("tensorflow")
    return name


def environment() -> dict[str, str]:
    """Returns environment variables that make TensorFlow log less and, on x86 processors, use oneDNN.

    TensorFlow reads them when it is imported. By default it uses oneDNN only on processors with AVX-512 or similar
    instructions; `benchmarks/NOTES.md` says what that costs on others.
    """
    onednn = {"TF_ENABLE_ONEDNN_OPTS": "1"} if is_x86() else {}
    return {"TF_CPP_MIN_LOG_LEVEL": "3", **onednn}


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Discards what is written to stdout and stderr, also by C++ libraries that write regardless of their log level.

    Such are TensorFlow's when it is imported, which Keras does on every backend, for seeding and saving, if TensorFlow
    is installed and its import not blocked; and those that connect JAX's processes, which write to stdout.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    originals = [os.dup(stream) for stream in (1, 2)]
    with open(os.devnull, "w") as devnull:
        for stream in (1, 2):
            os.dup2(devnull.fileno(), stream)
    try:
        yield
    finally:
        for stream, original in zip((1, 2), originals, strict=True):
            os.dup2(original, stream)
            os.close(original)


def _installed(module: str) -> bool:
    return sys.modules.get(module) is not None or importlib.util.find_spec(module) is not None
