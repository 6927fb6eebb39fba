"""Defers Keras's import of Torch's compiler, which takes half of the time that Keras takes to start on Torch.

Keras excludes some of its functions from compilation, and imports the compiler for that alone. Here, they are excluded
when something else imports the compiler.
"""

from __future__ import annotations

import importlib
import importlib.abc
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from .import_blocker import importer

COMPILER = "torch._dynamo"
IMPORTERS = "keras.src.backend.torch."


class CompilerDeferral(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives Keras a stand-in for Torch's compiler while Keras is imported, and the compiler to everyone else."""

    def __init__(self) -> None:
        self._deferring = True
        self._excluded: list[Callable[..., Any]] = []

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Returns the spec of the stand-in, or of the compiler; None for other modules."""
        if fullname != COMPILER:
            return None
        if self._deferring and importer().startswith(IMPORTERS):
            return ModuleSpec(fullname, self)
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and spec.loader is not None and self._excluded:
            execute = spec.loader.exec_module

            def execute_and_exclude(module: ModuleType) -> None:
                execute(module)
                for function in self._excluded:
                    setattr(sys.modules[function.__module__], function.__name__, module.disable()(function))
                self._excluded.clear()

            spec.loader.exec_module = execute_and_exclude  # type: ignore[method-assign]
        return spec

    def exec_module(self, module: ModuleType) -> None:
        """Makes a module the stand-in: it has `disable` as Keras calls it, and imports the compiler for all else."""

        def withdraw() -> None:
            if sys.modules.get(COMPILER) is module:
                del sys.modules[COMPILER]
                vars(sys.modules["torch"]).pop("_dynamo", None)

        def disable(*arguments: Any, **choices: Any) -> Callable[[Any], Any]:
            withdraw()
            return compiler("disable")(*arguments, **choices) if arguments or choices else exclude

        def exclude(function: Any) -> Any:
            self._excluded.append(function)
            return function

        def compiler(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            self._deferring = False
            withdraw()
            return getattr(importlib.import_module(COMPILER), name)

        vars(module).update(disable=disable, __getattr__=compiler)


def defer_compiler() -> None:
    """Defers Keras's import of Torch's compiler, from now on in this process."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, CompilerDeferral)]
    sys.meta_path.insert(0, CompilerDeferral())
