"""Blocks imports that Keras and TensorFlow make if a package is installed, and no command needs: seconds per start."""

from __future__ import annotations

import importlib.abc
import sys

IMPORTERS = ("keras", "tensorflow")
# Keras imports TensorFlow for seeding and saving, JAX for Orbax, scikit-learn for its wrappers, matplotlib for image
# galleries, pandas for data frames and IPython for displaying files. TensorFlow imports JAX for TensorFlow Lite.
MODULES = ("tensorflow", "jax", "sklearn", "matplotlib", "pandas", "IPython")


class ImportBlocker(importlib.abc.MetaPathFinder):
    """Makes modules look absent to Keras and TensorFlow, and to no other importer.

    Keras and TensorFlow then do without them, as on machines where they are not installed.

    Args:
        modules: names of the modules.
    """

    def __init__(self, modules: frozenset[str]) -> None:
        self.modules = modules

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        """Raises ModuleNotFoundError for a blocked import; otherwise returns None, so that the other finders are asked.

        Raises:
            ModuleNotFoundError: Keras or TensorFlow imports one of the modules.
        """
        if fullname in self.modules and _importer().partition(".")[0] in IMPORTERS:
            raise ModuleNotFoundError(f"No module named {fullname!r}: keras_resnet blocks its import", name=fullname)


def _importer() -> str:
    """Returns the name of the importing module: that of the nearest caller outside this module and `importlib`."""
    frame = sys._getframe(2)
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == "importlib":
        frame = frame.f_back
    return frame.f_globals.get("__name__", "")


def block_imports(engine: str) -> None:
    """Blocks Keras's and TensorFlow's imports of `MODULES`, except the backend's, from now on in this process.

    Args:
        engine: the module of the backend, such as "jax".
    """
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, ImportBlocker)]
    sys.meta_path.insert(0, ImportBlocker(frozenset(MODULES) - {engine}))
