"""The exit statuses of the `keras-resnet` command, for scripts, schedulers and the processes that start it."""

from __future__ import annotations

import enum


class Status(enum.IntEnum):
    """An exit status: an integer with its description as `meaning`. A crash, which is a bug, has Python's status, 1."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> Status:
        member = int.__new__(cls, value)
        member._value_, member.meaning = value, meaning
        return member

    DONE = 0, "done"
    MISTAKE = 2, "a mistake in the arguments or files, reported in one line; or not enough memory"
    DIVERGED = 3, "training diverged: the loss is not finite"
    HELD = 4, "another process is using the folder"
    TRY_AGAIN = 75, "stopped on request, after saving; the same command resumes"  # EX_TEMPFAIL of sysexits.h
    INTERRUPTED = 130, "interrupted from the keyboard"
