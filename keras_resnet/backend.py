"""The one place that knows the backends apart. Importing it imports no backend."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import sys
from collections.abc import Iterator

BACKENDS = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}  # Keras's name: the module it needs


def settle(choice: str | None = None) -> str:
    """Decides which backend Keras will use, before Keras is imported.

    Args:
        choice: a backend; None for `KERAS_BACKEND`, else the first one that is installed.

    Returns:
        The backend's name.

    Raises:
        ValueError: no such backend, one that is not installed, none installed at all, or another one that Keras runs
            on already.
    """
    name = choice or os.environ.get("KERAS_BACKEND") or next((b for b, m in BACKENDS.items() if _installed(m)), None)
    if name is None:
        raise ValueError("Keras needs a backend: pip install 'keras-resnet[tensorflow]', or [jax], or [torch].")
    if name not in BACKENDS:
        raise ValueError(f"Unknown backend {name!r}. Accepted: {', '.join(BACKENDS)}")
    if not _installed(BACKENDS[name]):
        raise ValueError(f"The backend {name!r} is not installed: pip install 'keras-resnet[{name}]'")
    if "keras" in sys.modules and (running := sys.modules["keras"].config.backend()) != name:
        raise ValueError(f"Keras runs on {running!r} in this process already. Received: {name!r}")
    os.environ["KERAS_BACKEND"] = name
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if name == "tensorflow":
        with quietly():
            importlib.import_module("tensorflow")
    return name


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keeps from the terminal what TensorFlow's libraries write whatever their log level is, while it is imported.

    Keras imports TensorFlow on every backend, to seed and to save, where it is installed.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)


def _installed(module: str) -> bool:
    return sys.modules.get(module) is not None or importlib.util.find_spec(module) is not None


def device() -> str:
    """The device that training runs on, in words."""
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        devices = tf.config.list_physical_devices("GPU")
        names = [tf.config.experimental.get_device_details(device).get("device_name", "GPU") for device in devices]
    elif backend == "jax":
        import jax

        names = [device.device_kind for device in jax.devices() if device.platform != "cpu"]
    else:
        import torch

        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return f"{len(names)} x {names[0]}" if names else f"CPU ({os.cpu_count()} cores, {platform.machine()})"


def versions() -> dict[str, str]:
    """The versions that a result depends on."""
    import keras

    from .version import __version__

    backend = keras.backend.backend()
    return {
        "keras_resnet": __version__,
        "keras": keras.__version__,
        backend: importlib.metadata.version(BACKENDS[backend]) if backend != "tensorflow" else _tensorflow_version(),
        "numpy": importlib.metadata.version("numpy"),
        "python": platform.python_version(),
    }


def _tensorflow_version() -> str:
    import tensorflow as tf  # its distribution has several names

    return tf.__version__
