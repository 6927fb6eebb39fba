"""The `keras-resnet` command: parses arguments, calls a subcommand of `commands`, and reports errors in one line."""

from __future__ import annotations

import argparse
import io
import os
import sys
import traceback
from collections.abc import Sequence

from .commands import COMMANDS
from .commands.common import Commands
from .files import FolderInUseError
from .host import NO_MEMORY, keep_freed_memory
from .options import Parser
from .status import Status
from .training.interruption import StoppedError, stop_with_parent
from .version import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: the arguments; None for those of the process.

    Returns:
        The exit status, a `Status`.
    """
    _open_standard_streams()
    arguments = _parser().parse_args(argv)
    keep_freed_memory()
    if argv is None:  # the process is the command's own
        # All pictures are files. A notebook names its own backend, and `!keras-resnet` may run where that is absent.
        os.environ["MPLBACKEND"] = "agg"
        stop_with_parent()
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: a name must not end the command
    try:
        status = arguments.run(arguments)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader of the output, such as `head`, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Status.DONE
    except (ValueError, OSError) as error:
        if not _is_expected(error):
            raise
        # Every process prints it, not only the chief: when one process ends, launchers may kill the others first.
        print(f"keras-resnet: error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        return Status.HELD if isinstance(error, FolderInUseError) else Status.MISTAKE
    except StoppedError as error:
        print(f"\nkeras-resnet: {error}. Run the same command again to resume.", file=sys.stderr)
        return Status.TRY_AGAIN
    except KeyboardInterrupt:
        print("\nkeras-resnet: stopped", file=sys.stderr)
        return Status.INTERRUPTED
    except Exception as error:  # backends raise different classes when memory runs out
        if not NO_MEMORY.search(f"{type(error).__name__}: {error}"):
            raise
        print(
            "keras-resnet: error: out of memory. Choose a smaller --batch-size or, to train with the same one, "
            "--accumulate or --rematerialize.",
            file=sys.stderr,
            flush=True,
        )
        return Status.MISTAKE


def _open_standard_streams() -> None:
    """Opens the null device for each standard stream that is closed, as by `>&-` or the parent of a service.

    Python has None in its place, and the next file that is opened has its number, so that a library's messages would
    be written to that file.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, errors="backslashreplace"))
            os.set_inheritable(getattr(sys, name).fileno(), True)


def _is_expected(error: BaseException) -> bool:
    """Returns whether this package or the file system raised the error; any other is a bug, and needs its traceback.

    Modules are recognised by name, since a file has several paths where folders are linked.
    """
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    module = frame.f_globals.get("__name__", "")
    # Keras's settings are the user's, in ~/.keras/keras.json.
    return isinstance(error, OSError) or module.startswith(f"{__package__}.") or module == "keras.src.backend.config"


def _parser() -> Parser:
    statuses = "\n".join(f"{status:5}  {status.meaning}" for status in Status)
    parser = Parser(
        prog="keras-resnet",
        description="Residual networks of He et al. 2015 and 2016 in Keras 3.",
        epilog="Each command has --help, with an example; defaults are in square brackets.\n\n"
        f"exit status:\n{statuses}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"keras-resnet {__version__}")
    commands = Commands(parser)
    for command in COMMANDS:
        command.add(commands)
    return parser
