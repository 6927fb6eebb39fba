"""Options as fields of a dataclass: how each is checked, and what the command line makes of it, written once."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import functools
import math
import numbers
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any, NoReturn

from .status import Status

LIMITS = ("at_least", "above", "at_most", "below")


def option(
    default: object, text: str, *, choices: Iterable[Any] | None = None, **limits: float | None
) -> dataclasses.Field:
    """A dataclass field with the line of help that the command line prints for it, and what `check_fields` refuses.

    Args:
        default: its default; MISSING for none.
        text: the line of help.
        choices: the values that it may have; None too, where its type says so.
        **limits: `at_least`, `above`, `at_most`, `below`: the range of a number, or of each in a tuple. A number that
            has limits must be finite.
    """
    if unknown := limits.keys() - set(LIMITS):
        raise TypeError(f"Unknown limits: {', '.join(sorted(unknown))}")
    metadata = {"help": text, "choices": None if choices is None else tuple(choices), "limits": limits}
    return dataclasses.field(default=default, metadata=metadata)


class Parser(argparse.ArgumentParser):
    """Says a mistake in one line and ends with status 2."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[argparse.Namespace, list[str]]:
        """Refuses what it does not know, so that the message comes from the command that was meant."""
        namespace, unknown = super().parse_known_args(args, namespace)
        if unknown:
            option = unknown[0].partition("=")[0]
            near = [f"; near: {close}" for close in difflib.get_close_matches(option, self._option_string_actions, n=1)]
            self.error(f"unrecognized arguments: {' '.join(unknown)}{''.join(near)}")
        return namespace, unknown

    def error(self, message: str) -> NoReturn:
        self.exit(Status.MISTAKE, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def add_options(group: argparse._ActionsContainer, row: type, *, defaults: bool = True) -> None:
    """Adds an option for every field of a dataclass that carries a line of help.

    An option that is not given leaves nothing behind, so that whoever reads the result can tell.

    Args:
        group: a parser or a group of one.
        row: the dataclass.
        defaults: whether the help shows the fields' defaults.
    """
    hints = _hints(row)
    for field in fields(row):
        if "help" not in field.metadata:
            continue
        hint, flag = hints[field.name], "--" + field.name.replace("_", "-")
        default = f" [{shown(field.default)}]" if defaults and field.default not in (None, False, MISSING) else ""
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


def as_words(values: Mapping[str, Any]) -> list[str]:
    """Fields of a dataclass as they are given on the command line: what `given` turns back into them."""
    words = []
    for name, value in values.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words.append(f"--{flag}={shown(value)}")  # "=", for numbers below 0
    return words


def positive(text: str) -> int:
    """An argument that counts something."""
    if not int(text) >= 1:
        raise argparse.ArgumentTypeError(f"must be at least 1. Received: {text}")
    return int(text)


def random_seed(text: str) -> int:
    """An argument that begins what is drawn at random, by NumPy too, which takes no more than 32 bits."""
    if not 0 <= int(text) < 2**32 - 1:
        raise argparse.ArgumentTypeError(f"must be from 0 to 2**32 - 2. Received: {text}")
    return int(text)


def whole_numbers(text: str) -> tuple[int, ...]:
    """An argument of whole numbers."""
    return tuple(int(number) for number in text.split(","))


def per_channel(text: str) -> tuple[float, ...]:
    """An argument of a number a channel."""
    return tuple(float(number) for number in text.split(","))


def check_types(row: type, values: Mapping[str, Any]) -> None:
    """Checks values, perhaps read from a file, against the types of a dataclass's fields.

    Raises:
        ValueError: a name that is no field, or a value that is not of its field's type.
    """
    hints = _hints(row)
    for name, value in values.items():
        if name not in hints:
            near = [f"; near: {close}" for close in difflib.get_close_matches(str(name), hints, n=1)]
            raise ValueError(f"Unknown field {name!r} of a {row.__name__.lower()}{''.join(near)}")
        if not any(_is_a(value, kind) for kind in _alternatives(hints[name])):
            raise ValueError(f"`{name}` must be {_described(hints[name])}. Received: {value!r}")


def check_fields(instance: Any, *, but: Iterable[str] = ()) -> None:
    """Checks the type of every field of a dataclass instance, and the choices and limits that `option` gave it.

    Rules about several fields are the dataclass's own.

    Args:
        instance: the instance.
        but: fields that are checked elsewhere.

    Raises:
        ValueError: a value that its field does not take; the message names the field, what it takes and the value.
    """
    values = {field.name: getattr(instance, field.name) for field in fields(instance) if field.name not in but}
    check_types(type(instance), values)
    for field in fields(instance):
        value = values.get(field.name)
        if value is None:
            continue
        accepted, limits = field.metadata.get("choices"), field.metadata.get("limits")
        if accepted is not None and value not in accepted:
            raise ValueError(f"`{field.name}` must be one of {', '.join(map(repr, accepted))}. Received: {value!r}")
        several = isinstance(value, tuple | list)
        if limits and not all(_within(number, **limits) for number in (value if several else [value])):
            kind = _alternatives(_hints(type(instance))[field.name])[0]
            raise ValueError(f"`{field.name}` must be {_range(kind, **limits)}. Received: {value!r}")


def choices_of(row: type) -> dict[str, tuple[Any, ...]]:
    """The values that fields of a dataclass may have, of those that have a list of them; None among them if it may be.

    `Spec`'s "shortcut" may be "A", "B", "C" and None.
    """
    listed = {field.name: field.metadata["choices"] for field in fields(row) if field.metadata.get("choices")}
    optional = {name for name, hint in _hints(row).items() if types.NoneType in _alternatives(hint)}
    return {
        name: (*accepted, None) if name in optional and None not in accepted else accepted
        for name, accepted in listed.items()
    }


def _within(
    number: float,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> bool:
    low = (at_least is None or number >= at_least) and (above is None or number > above)
    high = (at_most is None or number <= at_most) and (below is None or number < below)
    return low and high and math.isfinite(number)


def _range(kind: Any, **limits: float) -> str:
    """Limits in words. That a number without a highest value must be finite, "a number" says."""
    if limits.keys() == {"at_least", "at_most"}:
        return f"from {limits['at_least']} to {limits['at_most']}"
    words = " and ".join(f"{name.replace('_', ' ')} {limit}" for name, limit in limits.items())
    if kind is float and not limits.keys() & {"at_most", "below"}:
        return f"a number {'of ' if 'at_least' in limits else ''}{words}"
    return words


@functools.cache
def _hints(row: type) -> dict[str, Any]:
    """The types of a dataclass's fields; they are text there, and to read it takes a millisecond."""
    return typing.get_type_hints(row)


def _is_a(value: Any, kind: Any) -> bool:
    if typing.get_origin(kind) is tuple:
        return isinstance(value, list | tuple) and all(_is_a(entry, typing.get_args(kind)[0]) for entry in value)
    wanted = {int: numbers.Integral, float: numbers.Real}.get(kind, typing.get_origin(kind) or kind)
    return isinstance(value, wanted) and (kind is bool or not isinstance(value, bool))


def _described(hint: Any) -> str:
    words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", types.NoneType: "null"}
    kinds = {tuple: "a list of numbers", dict: "an object"}
    return " or ".join(words.get(kind) or kinds[typing.get_origin(kind) or kind] for kind in _alternatives(hint))


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)


def _converter(hint: Any) -> Callable[[str], Any]:
    kinds = _alternatives(hint)
    kind = kinds[0]
    several = typing.get_origin(kind) is tuple
    one = typing.get_args(kind)[0] if several else kind

    def convert(text: str) -> Any:
        if type(None) in kinds and text.lower() == "none":
            return None
        if several:
            return tuple(one(number) for number in text.split(",")) if text else ()
        return one(text)

    convert.__name__ = "numbers" if several else kind.__name__  # argparse's messages name it
    return convert


def _metavar(hint: Any) -> str:
    kind = _alternatives(hint)[0]
    names = {int: "N", float: "X"}
    if typing.get_origin(kind) is tuple:
        return ",".join(2 * [names[typing.get_args(kind)[0]]])
    return names.get(kind, "NAME")


def shown(value: Any) -> str:
    """A value as it is given on the command line."""
    return "none" if value is None else ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
