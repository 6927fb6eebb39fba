"""The exit statuses of the `keras-resnet` command, which scripts, schedulers and its own parent processes compare."""

from __future__ import annotations

import enum


class Status(enum.IntEnum):
    """An exit status, an int, with what it means as `meaning`. A crash, which is a bug, has Python's own, 1."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> Status:
        member = int.__new__(cls, value)
        member._value_, member.meaning = value, meaning
        return member

    DONE = 0, "done"
    MISTAKE = 2, "a mistake in what was asked for, told in one line; or too little memory"
    DIVERGED = 3, "training diverged: the loss is no longer a number"
    HELD = 4, "another process is at work in the folder"
    TRY_AGAIN = 75, "asked to stop, and saved; the same command goes on from there"  # EX_TEMPFAIL of sysexits.h
    INTERRUPTED = 130, "interrupted from the keyboard"
