"""What Keras and TensorFlow import wherever it is installed and no command has them use: seconds of each start."""

from __future__ import annotations

import importlib.abc
import sys

IMPORTERS = ("keras", "tensorflow")
# Keras takes TensorFlow to seed and to save, JAX for Orbax, scikit-learn for wrappers, matplotlib for galleries, pandas
# for frames of data, IPython to show files. TensorFlow takes JAX for its Lite.
MODULES = ("tensorflow", "jax", "sklearn", "matplotlib", "pandas", "IPython")


class ImportBlocker(importlib.abc.MetaPathFinder):
    """Answers Keras and TensorFlow, and nobody else, that modules are not installed.

    They then do without, as they do on machines that have none.

    Args:
        modules: their names.
    """

    def __init__(self, modules: frozenset[str]) -> None:
        self.modules = modules

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        """Finds nothing, and keeps others from finding it where they ask."""
        if fullname in self.modules and _importer().partition(".")[0] in IMPORTERS:
            raise ModuleNotFoundError(f"No module named {fullname!r}: its import is spared", name=fullname)


def _importer() -> str:
    """The module that asks for what is being imported: the nearest caller outside this one and `importlib`."""
    frame = sys._getframe(2)
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == "importlib":
        frame = frame.f_back
    return frame.f_globals.get("__name__", "")


def block_imports(engine: str) -> None:
    """Spares them what they have no use for on an engine, from now on in this process.

    Args:
        engine: the module that Keras computes with.
    """
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, ImportBlocker)]
    sys.meta_path.insert(0, ImportBlocker(frozenset(MODULES) - {engine}))
