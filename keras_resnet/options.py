"""Command-line options made of a dataclass, so that no option is written twice."""

from __future__ import annotations

import argparse
import types
import typing
from collections.abc import Callable
from dataclasses import fields
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """Says a mistake in one line and ends with status 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def add_options(group: argparse._ActionsContainer, row: type, *, defaults: bool = True) -> None:
    """Adds an option for every field of a dataclass that carries a line of help.

    An option that is not given leaves nothing behind, so that whoever reads the result can tell.

    Args:
        group: a parser or a group of one.
        row: the dataclass.
        defaults: whether the help shows the fields' defaults.
    """
    hints = typing.get_type_hints(row)
    for field in fields(row):
        if "help" not in field.metadata:
            continue
        hint, flag = hints[field.name], "--" + field.name.replace("_", "-")
        default = f" [{_shown(field.default)}]" if defaults and field.default not in (None, False) else ""
        how = {
            "dest": field.name,
            "default": argparse.SUPPRESS,
            "help": (field.metadata["help"] + default).replace("%", "%%"),
        }
        if bool in _alternatives(hint):
            group.add_argument(flag, action=argparse.BooleanOptionalAction, **how)
        else:
            group.add_argument(flag, type=_converter(hint), metavar=_metavar(hint), **how)


def given(arguments: argparse.Namespace, row: type) -> dict[str, Any]:
    """The fields of a dataclass that were given on the command line."""
    there = vars(arguments)
    return {field.name: there[field.name] for field in fields(row) if field.name in there}


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)


def _converter(hint: Any) -> Callable[[str], Any]:
    kinds = _alternatives(hint)
    kind = kinds[0]
    if typing.get_origin(kind) is tuple:
        kind = _numbers

    def convert(text: str) -> Any:
        return None if type(None) in kinds and text.lower() == "none" else kind(text)

    convert.__name__ = kind.__name__.strip("_")  # argparse's messages name it
    return convert


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(number) for number in text.split(","))


def _metavar(hint: Any) -> str:
    kind = _alternatives(hint)[0]
    return "X,X" if typing.get_origin(kind) is tuple else {int: "N", float: "X"}.get(kind, "NAME")


def _shown(default: Any) -> str:
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
