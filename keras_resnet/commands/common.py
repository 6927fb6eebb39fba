"""What commands have in common."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from ..options import Parser
from ..training.recipe import Recipe

DATASET = "digits, cifar10, cifar100, folder:PATH of class folders in train/ and val/, or one of tensorflow-datasets"
NETWORK = "what differs from the named network"


class Commands:
    """Where commands are added.

    Args:
        parser: of the whole command line.
    """

    def __init__(self, parser: Parser) -> None:
        self._parsers = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(self, name: str, run: Callable[[argparse.Namespace], int], what: str, example: str) -> Parser:
        """A command, with an example that works; it prints JSON if it is asked to."""
        made = self._parsers.add_parser(
            name,
            help=what,
            description=what,
            epilog=f"example: keras-resnet {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.set_defaults(run=run)
        made.add_argument("--json", action="store_true", help="print JSON")
        return made


def backend_option(parser: Parser) -> None:
    """Has a command take a backend."""
    parser.add_argument(
        "--backend", metavar="NAME", help="tensorflow, jax or torch [KERAS_BACKEND, else the first installed]"
    )


def lines_of(path: str) -> list[str]:
    """The lines of a text file.

    Raises:
        ValueError: it is no text.
    """
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path!r} is no text in UTF-8: {error}") from None


def help_of(field: str) -> str:
    """The line of help of a field of the recipe."""
    return Recipe.__dataclass_fields__[field].metadata["help"]


def verbose(arguments: argparse.Namespace) -> int:
    """Whether there is someone to watch a progress bar."""
    return int(sys.stderr.isatty() and not arguments.json)
