"""Help texts and options shared by the commands."""

from __future__ import annotations

import argparse
import contextlib
import errno
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from ..options import Parser
from ..training.recipe import Recipe

DATASET = (
    "digits, cifar10, cifar100, folder:PATH with class folders in train/ and val/, or the name of a data set of "
    "tensorflow-datasets"
)
MODEL = "a .keras file or a run folder"
SOURCE = "an image, a folder of images, or a .npy file"
NETWORK = "changes to the named network"


class Commands:
    """Registry of the commands.

    Args:
        parser: the parser of the entire command line.
    """

    def __init__(self, parser: Parser) -> None:
        self._parsers = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(self, name: str, run: Callable[[argparse.Namespace], int], description: str, example: str) -> Parser:
        """Adds a command and its option `--json`.

        Args:
            name: the name of the command.
            run: called with the parsed arguments; returns the exit status.
            description: one sentence, also listed in the help of `keras-resnet`.
            example: the arguments of a call that works, shown at the end of the help.

        Returns:
            The parser to which the command adds its arguments.
        """
        parser = self._parsers.add_parser(
            name,
            help=description,
            description=description,
            epilog=f"example: keras-resnet {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.set_defaults(run=run)
        parser.add_argument("--json", action="store_true", help="print the result as JSON")
        return parser


def data_dir_option(parser: Parser) -> None:
    """Adds `--data-dir` to a command."""
    parser.add_argument("--data-dir", metavar="FOLDER", help=help_of("data_dir"))


def backend_option(parser: Parser) -> None:
    """Adds `--backend` to a command."""
    parser.add_argument(
        "--backend", metavar="NAME", help="tensorflow, jax or torch [KERAS_BACKEND, else the first one installed]"
    )


def lines_of(path: str) -> list[str]:
    """Returns the lines of a text file.

    Raises:
        ValueError: the file is not text in UTF-8.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig").splitlines()  # some editors begin a file with a mark
    except UnicodeDecodeError as error:
        raise ValueError(f"{path!r} is not a text file in UTF-8: {error}") from None


def help_of(field: str) -> str:
    """Returns the help text of a field of `Recipe`."""
    return Recipe.__dataclass_fields__[field].metadata["help"]


def say(line: str) -> None:
    """Prints a line about the progress of a command to stderr, since stdout is for its result."""
    print(line, file=sys.stderr, flush=True)


def verbose(arguments: argparse.Namespace) -> int:
    """Returns 1 for a progress bar, if stderr is a terminal and JSON was not requested, else 0."""
    return int(sys.stderr.isatty() and not arguments.json)


@contextlib.contextmanager
def naming_out(arguments: argparse.Namespace) -> Iterator[None]:
    """Context manager in which a report is written, by default next to a model, where others may not write.

    Raises:
        ValueError: they may not; the message names the option `--out`.
    """
    try:
        yield
    except OSError as error:
        if arguments.out or error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise ValueError(f"{error} Choose another folder with --out.") from error
