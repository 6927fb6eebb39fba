"""Contenders, and the processes in which they are measured.

A worker process runs the benchmark's own program with `--work`, the name of a contender and its setting. It answers in
lines of JSON on stdout. The first line is {} when a contender has loaded, the figures of a subject, or
{"skipped": reason}. After that, for each line on stdin until it is closed, a contender answers the seconds of a call.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from keras_resnet.backend import import_blocker
from keras_resnet.host import NO_MEMORY
from keras_resnet.training.processes import SHARED_GPU

WARM_UP = 2  # calls

Setting = Mapping[str, Any]  # the case and its options, the same for all contenders; serialisable as JSON


@dataclass(frozen=True)
class Contender:
    """An implementation whose calls are timed.

    Attributes:
        load: takes the setting, in which "size" is the batch size, and returns the call to time. Raises LookupError if
            there is nothing to time, such as where a package is not installed.
        backend: the Keras backend it runs on, if any.
        returns_seconds: whether the call returns the seconds to record instead of being timed.
    """

    load: Callable[[Setting], Callable[[], Any]]
    backend: str | None = None
    returns_seconds: bool = False


@dataclass(frozen=True)
class Subject:
    """An implementation that is measured once per process, from its start to its end.

    Attributes:
        measure: takes the setting and returns figures by name; raises LookupError as `Contender.load` does.
        backend: the Keras backend it runs on, if any.
    """

    measure: Callable[[Setting], dict[str, float]]
    backend: str | None = None


def start_as_command() -> None:
    """Sets this process up as the `keras-resnet` command does, before Keras is imported.

    Raises:
        LookupError: the backend of this process is not installed.
    """
    from keras_resnet import backend, keep_freed_memory

    try:
        backend.select_backend()
    except ValueError as error:
        raise LookupError(str(error)) from error
    keep_freed_memory()


def work(contender: Contender | Subject, setting: Setting) -> None:
    """Main function of a worker process; see the module's docstring for what it reads and writes."""
    import_blocker.block_imports(os.environ["KERAS_BACKEND"])  # of what no contender needs, which take seconds
    answers = os.dup(1)
    os.dup2(2, 1)  # so that what libraries print is not mistaken for an answer
    with os.fdopen(answers, "w", buffering=1) as out:
        try:
            if isinstance(contender, Subject):
                print(json.dumps(contender.measure(setting)), file=out)
                return
            call = contender.load(setting)
        except LookupError as error:
            print(json.dumps({"skipped": str(error)}), file=out)
            return
        print(json.dumps({}), file=out)
        for number, _ in enumerate(sys.stdin):
            if contender.returns_seconds:
                print(json.dumps(call()), file=out)
                continue
            for _ in range(0 if number else WARM_UP):
                call()
            seconds: list[float] = []
            while sum(seconds) < setting["seconds"]:
                start = time.perf_counter()
                call()
                seconds.append(time.perf_counter() - start)
            print(json.dumps(statistics.median(seconds)), file=out)


class Process:
    """Worker process of a contender, seen from the benchmark.

    Args:
        name: the contender's name.
        contender: the contender.
        setting: passed to the contender.
        cores: the number of CPU cores it may use.

    Attributes:
        skipped: the reason why there is nothing to time; None if there is something.
        failed: whether that reason is a fault, and not, for example, a missing package.
    """

    def __init__(self, name: str, contender: Contender | Subject, setting: Setting, cores: int) -> None:
        allowed = set(sorted(os.sched_getaffinity(0))[:cores])
        self.name = name
        self.skipped: str | None = None
        self.failed = False
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, sys.argv[0], "--work", json.dumps([name, setting])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            bufsize=1,
            env={
                **os.environ,
                **SHARED_GPU,  # the other contenders wait with their networks on the same GPU
                "TF_CPP_MIN_LOG_LEVEL": "3",
                "KERAS_BACKEND": contender.backend or "tensorflow",
            },
            preexec_fn=lambda: os.sched_setaffinity(0, allowed),
        )

    @cached_property
    def first_answer(self) -> Any:
        """The figures of a subject; for a contender, {} once it has loaded. Also {} if it is `skipped`."""
        return self._answer() or {}

    def seconds(self) -> float | None:
        """Returns the seconds of a call, the median of a round; None if the contender is `skipped`."""
        with suppress(BrokenPipeError):  # the process has ended; `_answer` finds out how
            self._process.stdin.write("\n")
        return self._answer()

    def _answer(self) -> Any:
        """Returns the next answer of the process; None if it is skipped or has ended."""
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"skipped": self._unexpected_end()}
        if isinstance(answer, dict) and (reason := answer.get("skipped")):
            self.skipped = reason
            return None
        return answer

    def _unexpected_end(self) -> str:
        """Returns the reason why the process ended before it was asked to, and sets `failed`."""
        status = self._process.wait()
        self._errors.seek(0)
        output = self._errors.read()[-4000:].decode(errors="replace").strip()
        if status == -signal.SIGKILL or NO_MEMORY.search(output):
            return "out of memory; run fewer contenders at a time, with --only"
        self.failed = True
        print(output, file=sys.stderr)
        return f"failed: {output.splitlines()[-1] if output else f'status {status}'}"

    def end(self) -> None:
        """Lets the process end, and waits for it."""
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
