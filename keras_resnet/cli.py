"""The `keras-resnet` command: parses, calls, and tells mistakes in a line. What can be typed stands in `commands`."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence

from .commands import COMMANDS
from .commands.common import Commands
from .host import NO_MEMORY, keep_freed_memory
from .options import Parser
from .saving import FolderInUseError
from .status import Status
from .version import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Returns:
        A `Status`.
    """
    arguments = _parser().parse_args(argv)
    keep_freed_memory()
    try:
        status = arguments.run(arguments)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever read the output, such as `head`, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Status.DONE
    except (ValueError, OSError) as error:
        if not _on_purpose(error):
            raise
        # Of several processes each says it: launchers end all when one ends, perhaps before the chief has spoken.
        print(f"keras-resnet: error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        return Status.HELD if isinstance(error, FolderInUseError) else Status.MISTAKE
    except KeyboardInterrupt:
        print("\nkeras-resnet: stopped", file=sys.stderr)
        return Status.INTERRUPTED
    except Exception as error:  # each backend has its own
        if not NO_MEMORY.search(f"{type(error).__name__}: {error}"):
            raise
        print(
            "keras-resnet: error: out of memory. A smaller --batch-size takes less; of train, --accumulate and "
            "--rematerialize leave the batch as large.",
            file=sys.stderr,
            flush=True,
        )
        return Status.MISTAKE


def _on_purpose(error: BaseException) -> bool:
    """Whether this package or the file system raised the error; any other is a bug, whose traceback is wanted.

    By the module's name, not its file: the same file has several paths where folders are linked.
    """
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return isinstance(error, OSError) or frame.f_globals.get("__name__", "").startswith(f"{__package__}.")


def _parser() -> Parser:
    statuses = "\n".join(f"{status:5}  {status.meaning}" for status in Status)
    parser = Parser(
        prog="keras-resnet",
        description="Residual networks of He et al. 2015 and 2016 in Keras 3.",
        epilog=f"exit status:\n{statuses}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"keras-resnet {__version__}")
    commands = Commands(parser)
    for command in COMMANDS:
        command.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
