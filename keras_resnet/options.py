"""Options declared once, as dataclass fields, from which their checks and their command-line arguments are made."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import functools
import math
import numbers
import operator
import os
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any, NoReturn

from .status import Status

# The limits of numbers, with the comparison that holds for an accepted number.
LIMITS = {"at_least": operator.ge, "above": operator.gt, "at_most": operator.le, "below": operator.lt}
SHARE: dict[str, Any] = {"at_least": 0, "below": 1}  # the limits of a share that cannot be all


def option(
    default: Any, text: str, *, choices: Iterable[Any] | None = None, metavar: str | None = None, **limits: float
) -> Any:
    """Declares a dataclass field as an option: with help for the command line, and limits for `check_fields`.

    Args:
        default: the default value; MISSING for a required field.
        text: the help text, one line.
        choices: the accepted values; None is accepted too if the field's type allows it.
        metavar: what the help calls the value; None for a word that follows from the field's type.
        **limits: `at_least`, `above`, `at_most`, `below`: the range of a number, or of every number in a tuple. A
            number with limits must also be finite.

    Raises:
        TypeError: unknown limits.
    """
    if unknown := limits.keys() - LIMITS.keys():
        raise TypeError(f"Unknown limits: {', '.join(sorted(unknown))}")
    accepted = None if choices is None else tuple(choices)
    metadata = {"help": text, "choices": accepted, "metavar": metavar, "limits": limits}
    return dataclasses.field(default=default, metadata=metadata)


class Parser(argparse.ArgumentParser):
    """An argument parser that reports a mistake in one line and exits with status 2."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuses unknown arguments, so that the error names the subcommand that was given them."""
        words = [_in_home(word) for word in (sys.argv[1:] if args is None else args)]
        namespace, unknown = super().parse_known_args(words, namespace)
        if unknown:
            flag = unknown[0].partition("=")[0]
            self.error(f"unrecognized arguments: {' '.join(unknown)}{suggestion(flag, self._option_string_actions)}")
        return namespace, unknown

    def error(self, message: str) -> NoReturn:
        self.exit(Status.MISTAKE, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def add_options(group: argparse._ActionsContainer, dataclass: type, *, defaults: bool = True) -> None:
    """Adds a command-line option for every dataclass field that is declared by `option`.

    An option that is not given is absent from the parsed namespace, so that it can be told from one given its default.

    Args:
        group: a parser, or an argument group of one.
        dataclass: the dataclass of the options.
        defaults: whether the help shows the default values.
    """
    hints = _hints(dataclass)
    for field in fields(dataclass):
        if "help" not in field.metadata:
            continue
        hint, flag = hints[field.name], "--" + field.name.replace("_", "-")
        default = ""
        if defaults and field.default is not False and field.default not in (None, (), MISSING):  # 0 is shown
            default = f" [{'yes' if field.default is True else format_value(field.default)}]"
        settings = {
            "dest": field.name,
            "default": argparse.SUPPRESS,
            "help": (field.metadata["help"] + default).replace("%", "%%"),
        }
        if bool in _alternatives(hint):
            group.add_argument(flag, action=argparse.BooleanOptionalAction, **settings)
        else:
            metavar = field.metadata["metavar"] or _metavar(hint)
            group.add_argument(flag, type=converter(hint), metavar=metavar, **settings)


def given_fields(arguments: argparse.Namespace, dataclass: type) -> dict[str, Any]:
    """Returns the values of those dataclass fields that were given on the command line, by name."""
    values = vars(arguments)
    return {field.name: values[field.name] for field in fields(dataclass) if field.name in values}


def to_arguments(values: Mapping[str, Any]) -> list[str]:
    """Returns the command-line arguments that give dataclass fields these values; the inverse of `given_fields`."""
    words = []
    for name, value in values.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words.append(f"--{flag}={format_value(value)}")  # with "=", or argparse takes negative numbers for options
    return words


def _in_home(word: str) -> str:
    """Expands the ~ of a path in "--option=~/path", which shells leave to the program."""
    flag, _, path = word.partition("=")
    return f"{flag}={os.path.expanduser(path)}" if flag.startswith("--") and path.startswith("~") else word


def positive(text: str) -> int:
    """Converts an argument to an integer of at least 1."""
    if not int(text) >= 1:
        raise argparse.ArgumentTypeError(f"must be at least 1. Received: {text}")
    return int(text)


positive.__name__ = "int"  # used in argparse's messages


def file_name(text: str) -> str:
    """Refuses an argument that is empty, as of a shell's variable that is not set."""
    if not text:
        raise argparse.ArgumentTypeError("must not be empty")
    return text


def random_seed(text: str) -> int:
    """Converts an argument to a random seed. NumPy's seeds have 32 bits at most."""
    if not 0 <= int(text) < 2**32 - 1:
        raise argparse.ArgumentTypeError(f"must be from 0 to 2**32 - 2. Received: {text}")
    return int(text)


random_seed.__name__ = "int"


def converter(hint: Any) -> Callable[[str], Any]:
    """Returns the function that converts a command-line argument to a value of a type, such as `tuple[int, ...]`."""
    kinds = _alternatives(hint)
    kind = kinds[0]
    several = typing.get_origin(kind) is tuple
    element = typing.get_args(kind)[0] if several else kind

    def convert(text: str) -> Any:
        if type(None) in kinds and text.lower() == "none":
            return None
        if several:
            return tuple(element(number) for number in text.split(",")) if text else ()
        return element(text)

    convert.__name__ = "numbers" if several else kind.__name__  # used in argparse's messages
    return convert


def check_types(dataclass: type, values: Mapping[str, Any]) -> None:
    """Checks values, such as those read from a file, against the types of a dataclass's fields.

    Raises:
        ValueError: a name is not that of a field, or a value does not have its field's type.
    """
    hints = _hints(dataclass)
    for name, value in values.items():
        if name not in hints:
            raise ValueError(f"Unknown field {name!r} of a {dataclass.__name__.lower()}{suggestion(str(name), hints)}")
        if not any(_is_a(value, kind) for kind in _alternatives(hints[name])):
            raise ValueError(f"`{name}` must be {_described(hints[name])}. Received: {value!r}")


def check_fields(instance: Any, *, but: Iterable[str] = ()) -> None:
    """Checks the fields of a dataclass instance: their types, and the choices and limits declared by `option`.

    Rules that concern several fields are left to the dataclass.

    Args:
        instance: the instance.
        but: names of fields to skip.

    Raises:
        ValueError: a field does not accept its value; the message names the field, what it accepts, and the value.
    """
    values = {field.name: getattr(instance, field.name) for field in fields(instance) if field.name not in but}
    check_types(type(instance), values)
    check_limits(type(instance), values)


def check_limits(dataclass: type, values: Mapping[str, Any]) -> None:
    """Checks values of the right types against the choices and limits of a dataclass's fields, declared by `option`.

    Raises:
        ValueError: a field does not accept its value; the message names the field, what it accepts, and the value.
    """
    for field in fields(dataclass):
        value = values.get(field.name)
        if value is None:
            continue
        accepted, limits = field.metadata.get("choices"), field.metadata.get("limits")
        if accepted is not None and value not in accepted:
            raise ValueError(f"`{field.name}` must be one of {', '.join(map(repr, accepted))}. Received: {value!r}")
        entries = value if isinstance(value, tuple | list) else [value]
        if limits and not all(_within(entry, limits) for entry in entries):
            kind = kind_of(dataclass, field.name)
            raise ValueError(f"`{field.name}` must be {_range(kind, limits)}. Received: {value!r}")


def kind_of(dataclass: type, name: str) -> type:
    """Returns the type of a dataclass's field, without None: int for a field of type `int | None`."""
    return _alternatives(_hints(dataclass)[name])[0]


def suggestion(name: str, known: Iterable[str], count: int = 1) -> str:
    """Returns the end of an error about an unknown name: up to `count` known names that are close to it, or ""."""
    bare = {entry.lstrip("-"): entry for entry in known}  # the dashes of options would make "--lr" close to "--color"
    close = difflib.get_close_matches(name.lstrip("-"), bare, n=count)
    return f"; did you mean {' or '.join(bare[entry] for entry in close)}?" if close else ""


def _within(number: float, limits: Mapping[str, float]) -> bool:
    return math.isfinite(number) and all(LIMITS[name](number, limit) for name, limit in limits.items())


def _range(kind: Any, limits: Mapping[str, float]) -> str:
    """Describes limits in words. Without an upper limit, "a number" implies that infinity is not accepted."""
    if limits.keys() == {"at_least", "at_most"}:
        return f"from {limits['at_least']} to {limits['at_most']}"
    words = " and ".join(f"{name.replace('_', ' ')} {limit}" for name, limit in limits.items())
    if kind is float and not limits.keys() & {"at_most", "below"}:
        return f"a number {'of ' if 'at_least' in limits else ''}{words}"
    return words


@functools.cache
def _hints(dataclass: type) -> dict[str, Any]:
    """Returns the types of a dataclass's fields. Cached, since evaluating the annotations takes a millisecond."""
    return typing.get_type_hints(dataclass)


def _is_a(value: Any, kind: Any) -> bool:
    if type(value) is kind:  # usually so, and much faster than the numbers of the `numbers` module
        return True
    if typing.get_origin(kind) is tuple:
        return isinstance(value, list | tuple) and all(_is_a(entry, typing.get_args(kind)[0]) for entry in value)
    wanted = {int: numbers.Integral, float: numbers.Real}.get(kind, typing.get_origin(kind) or kind)
    return isinstance(value, wanted) and (kind is bool or not isinstance(value, bool))


def _described(hint: Any) -> str:
    words = {int: "an integer", float: "a number", str: "a string", bool: "true or false", types.NoneType: "null"}
    kinds = {tuple: "a list of numbers", dict: "an object"}
    return " or ".join(words.get(kind) or kinds[typing.get_origin(kind) or kind] for kind in _alternatives(hint))


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)


def _metavar(hint: Any) -> str:
    kind = _alternatives(hint)[0]
    names = {int: "N", float: "X"}
    if typing.get_origin(kind) is tuple:
        return ",".join(2 * [names[typing.get_args(kind)[0]]])
    return names.get(kind, "NAME")


def format_value(value: Any) -> str:
    """Returns a value as it is written on the command line."""
    if value is None:
        return "none"
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
