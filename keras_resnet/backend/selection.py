"""Which backend Keras will use, and how its library is imported. Importing this imports none."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import platform
import sys
from collections.abc import Iterator

from ..extras import install
from . import import_blocker

BACKENDS = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}  # Keras's name: the module it needs


def select_backend(choice: str | None = None) -> str:
    """Decides which backend Keras will use, before Keras is imported.

    For programs whose process is this package's alone, such as its command: sets what is missing of `environment`, and
    spares Keras the imports of `import_blocker`.

    Args:
        choice: a backend; None for `KERAS_BACKEND`, else the one that Keras runs on already, else the first one that is
            installed.

    Returns:
        The backend's name.

    Raises:
        ValueError: no such backend, one that is not installed, none installed at all, or another one that Keras runs
            on already.
    """
    running = sys.modules["keras"].config.backend() if "keras" in sys.modules else None
    first = next((name for name in (running, *BACKENDS) if name in BACKENDS and _installed(BACKENDS[name])), None)
    name = choice or os.environ.get("KERAS_BACKEND") or first
    if name is None:
        raise ValueError(f"Keras needs a backend: {install(*BACKENDS)}")
    if name not in BACKENDS:
        raise ValueError(f"Unknown backend {name!r}. Accepted: {', '.join(BACKENDS)}")
    if not _installed(BACKENDS[name]):
        raise ValueError(f"The backend {name!r} is not installed: {install(name)}")
    if running not in (None, name):
        raise ValueError(f"Keras runs on {running!r} in this process already. Received: {name!r}")
    os.environ["KERAS_BACKEND"] = name
    for variable, value in environment().items():
        os.environ.setdefault(variable, value)
    if "keras" not in sys.modules:
        import_blocker.block_imports(BACKENDS[name])
    if name == "tensorflow":
        with silenced():
            importlib.import_module("tensorflow")
    return name


def environment() -> dict[str, str]:
    """Variables that TensorFlow reads when it is imported: to be quiet, and on x86 processors to compute by oneDNN.

    Of its own accord it does so only where there is AVX-512 or the like; `benchmarks/NOTES.md` has what that costs.
    """
    onednn = {"TF_ENABLE_ONEDNN_OPTS": "1"} if platform.machine().lower() in ("x86_64", "amd64") else {}
    return {"TF_CPP_MIN_LOG_LEVEL": "3", **onednn}


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Keeps from the terminal what the engines' libraries write whatever their log level is.

    TensorFlow's while it is imported, which Keras does on every backend, to seed and to save, where it is installed and
    not spared; and those that connect JAX's processes, on stdout.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    terminals = [os.dup(stream) for stream in (1, 2)]
    with open(os.devnull, "w") as nowhere:
        for stream in (1, 2):
            os.dup2(nowhere.fileno(), stream)
    try:
        yield
    finally:
        for stream, terminal in zip((1, 2), terminals, strict=True):
            os.dup2(terminal, stream)
            os.close(terminal)


def _installed(module: str) -> bool:
    return sys.modules.get(module) is not None or importlib.util.find_spec(module) is not None
