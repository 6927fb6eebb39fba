"""Contenders that do the same work in turns, each in a process of its own.

Round by round, each is asked how long a call takes, or is looked at from its start in a new process, so that whatever
else the machine does meets all of them, and none feels what another left in memory. Loading and the first two calls,
which compile, are no part of a call's time. Told are the median of the rounds and their spread; of whole runs, the
report has the mean. What has been measured is written behind each round. A contender that fails is left out, and told
in the end, with exit status 1.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import json
import os
import shutil
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
from pathlib import Path
from typing import Any

from keras_resnet.host import NO_MEMORY
from keras_resnet.training.processes import SHARED_GPU

PACKAGES = (
    "keras",
    "keras-hub",
    "tensorflow",
    "jax",
    "flax",
    "torch",
    "torchvision",
    "timm",
    "onnxruntime",
    "ai-edge-litert",
    "openvino",
)
WARM_UP = 2  # calls

Setting = Mapping[str, Any]  # what all contenders are told, as JSON takes it


@dataclass(frozen=True)
class Contender:
    """Someone who can do the work.

    Attributes:
        load: from the setting, with its batch size as "size", to the call that is timed. Raises LookupError if there
            is nothing to time here, such as a package that is not installed.
        backend: of Keras, if it runs on one.
        computes: whether the call is not timed, but answers the seconds that it has worked out.
    """

    load: Callable[[Setting], Callable[[], Any]]
    backend: str | None = None
    computes: bool = False


@dataclass(frozen=True)
class Subject:
    """Someone who is looked at from the start to the end of a process.

    Attributes:
        look: from the setting to figures by name; raises LookupError as `Contender.load` does.
        backend: of Keras, if it runs on one.
    """

    look: Callable[[Setting], dict[str, float]]
    backend: str | None = None


def options(description: str | None, contenders: Mapping[str, Contender | Subject]) -> argparse.ArgumentParser:
    """The command line that all comparisons share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cores", default="2", help="numbers of cores, with commas")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of calls a round, at least one")
    parser.add_argument("--only", action="append", choices=contenders, help="this contender; can be said several times")
    parser.add_argument("--peers", metavar="FILE", help="what makes torchvision importable where its wheel is not")
    parser.add_argument("--json", metavar="FILE", help="where to write the result")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    return parser


def parse(parser: argparse.ArgumentParser, contenders: Mapping[str, Contender | Subject]) -> argparse.Namespace:
    """Reads the command line; in a contender's process it does the work instead, and ends."""
    arguments = parser.parse_args()
    if arguments.work:
        name, setting = json.loads(arguments.work)
        work(contenders[name], setting)
        sys.exit()
    arguments.only = arguments.only or list(contenders)
    arguments.cores = numbers(arguments.cores)
    arguments.results, arguments.failed = [], []
    return arguments


def numbers(text: str) -> list[int]:
    """Whole numbers with commas between them."""
    return [int(word) for word in text.split(",")]


def as_the_command() -> None:
    """Has a contender's process begin as the `keras-resnet` command does, before Keras is imported.

    Raises:
        LookupError: its backend is not installed.
    """
    from keras_resnet import backend, keep_freed_memory

    try:
        backend.select_backend()
    except ValueError as error:
        raise LookupError(str(error)) from error
    keep_freed_memory()


def work(contender: Contender | Subject, setting: Setting) -> None:
    """A contender's process: loads, then answers each line it reads by the seconds of a call, until there are no more.

    That of a subject answers its figures.
    """
    told = os.dup(1)
    os.dup2(2, 1)  # whatever libraries print is no answer
    with os.fdopen(told, "w", buffering=1) as out:
        try:
            found = contender.load(setting) if isinstance(contender, Contender) else contender.look(setting)
        except LookupError as error:
            print(json.dumps({"left out": str(error)}), file=out)
            return
        print(json.dumps({} if isinstance(contender, Contender) else found), file=out)
        if isinstance(contender, Subject):
            return
        for number, _ in enumerate(sys.stdin):
            if contender.computes:
                print(json.dumps(found()), file=out)
                continue
            for _ in range(0 if number else WARM_UP):
                found()
            seconds: list[float] = []
            while sum(seconds) < setting["seconds"]:
                begun = time.perf_counter()
                found()
                seconds.append(time.perf_counter() - begun)
            print(json.dumps(statistics.median(seconds)), file=out)


class Process:
    """A contender at work.

    Args:
        name: the contender's.
        contender: it.
        setting: what it is told.
        cores: how many it may use.
    """

    def __init__(self, name: str, contender: Contender | Subject, setting: Setting, cores: int) -> None:
        allowed = set(sorted(os.sched_getaffinity(0))[:cores])
        self.name = name
        self.left_out: str | None = None  # why there is nothing to time, if there is not
        self.failed = False  # whether that is a fault
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
                **SHARED_GPU,  # on which the others wait with their networks
                "TF_CPP_MIN_LOG_LEVEL": "3",
                "KERAS_BACKEND": contender.backend or "tensorflow",
            },
            preexec_fn=lambda: os.sched_setaffinity(0, allowed),
        )

    @cached_property
    def found(self) -> Any:
        """The figures of a subject; of a contender, waits until it has loaded. {} where it has been `left_out`."""
        return self._answer() or {}

    def seconds(self) -> float | None:
        """Seconds a call, the median of a round's; None where it has been `left_out`."""
        with suppress(BrokenPipeError):  # it has ended, and the answer says how
            self._process.stdin.write("\n")
        return self._answer()

    def _answer(self) -> Any:
        """What the process says next; None if it says why there is nothing to time, or ends."""
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"left out": self._end()}
        if isinstance(answer, dict) and (reason := answer.get("left out")):
            self.left_out = reason
            return None
        return answer

    def _end(self) -> str:
        """How it has ended, which nobody asked it to."""
        status = self._process.wait()
        self._errors.seek(0)
        words = self._errors.read()[-4000:].decode(errors="replace").strip()
        if status == -signal.SIGKILL or NO_MEMORY.search(words):
            return "no memory is left; try fewer at a time, with --only"
        self.failed = True
        print(words, file=sys.stderr)
        return f"failed: {words.splitlines()[-1] if words else f'status {status}'}"

    def end(self) -> None:
        """Has it end."""
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()


def compare(
    contenders: Mapping[str, Contender],
    arguments: argparse.Namespace,
    case: Setting,
    sizes: list[int],
    base: str,
    **setting: Any,
) -> None:
    """Has contenders do a case in turns, and prints a table for each number of cores and each size.

    Each size has processes of its own: what a program of several sizes is compiled to may be another than that of one.

    Args:
        contenders: by name.
        arguments: the command line, in whose "results" rows are put: of a case, size and contender "milliseconds" an
            image, the median of so many "rounds", and "from" and "to".
        case: what the case is, for the result and for contenders.
        sizes: the batch sizes.
        base: the contender by whose time the others' are divided.
        **setting: what else contenders are told.
    """
    for cores, size in itertools.product(arguments.cores, sizes):
        told = {**case, **setting, "size": size, "seconds": arguments.seconds, "peers": arguments.peers}
        every: list[Process] = []
        for name in arguments.only:
            every.append(Process(name, contenders[name], told, cores))
            if len(every) >= cores:
                _ = every[-cores].found  # a core for each that loads, which is not timed
        rounds: dict[str, list[float]] = {name: [] for name in arguments.only}
        for process in every:
            _ = process.found
            _leave_out(process, rounds, arguments)
        what = {**case, "cores": cores, "batch": size}
        before, rows = arguments.results, []
        for _ in range(arguments.rounds):
            for process in every:
                if process.name not in rounds:
                    continue
                if (seconds := process.seconds()) is not None:
                    rounds[process.name].append(1000 * seconds / size)
                _leave_out(process, rounds, arguments)
            rows = _times(what, rounds)
            arguments.results = [*before, *rows]
            write(arguments)
        print(f"\n{', '.join(f'{key} {value}' for key, value in what.items())}: milliseconds an image")
        _print_table(rows, base)
        for process in every:
            process.end()


def look_at(
    subjects: Mapping[str, Subject], arguments: argparse.Namespace, case: Setting, *, first: int = 0, **setting: Any
) -> None:
    """Looks at subjects in turns, in a new process each time, which is told the number of its "round"; see `compare`.

    A row is of a case and subject: how many "rounds", of each figure their median, "FIGURE_mean", "FIGURE_from",
    "FIGURE_to" and "FIGURE_each" and, of several rounds, "FIGURE_deviation".

    Args:
        first: the number of the first round.
    """
    told = {**case, **setting, "seconds": arguments.seconds, "peers": arguments.peers}
    before = list(arguments.results)
    for cores in arguments.cores:
        what = {**case, "cores": cores}
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in arguments.only}
        for number in range(first, first + arguments.rounds):
            for name in list(rounds):
                process = Process(name, subjects[name], {**told, "round": number}, cores)
                process.end()
                if found := process.found:
                    rounds[name].append(found)
                _leave_out(process, rounds, arguments)
            arguments.results = [*before, *(_row({**what, "contender": name}, rounds[name]) for name in rounds)]
            write(arguments)
        before = arguments.results
        print(f"\n{', '.join(f'{key} {value}' for key, value in what.items())}")
        for row in arguments.results[len(arguments.results) - len(rounds) :]:
            figures = [key.removesuffix("_each") for key in row if key.endswith("_each")]
            words = ", ".join(f"{row[figure]:,g} {figure.replace('_', ' ')}" for figure in figures)
            print(f"  {row['contender']:47}{words}", flush=True)


def _leave_out(process: Process, rounds: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Takes a contender out if there is nothing to time; what the others did is kept."""
    if process.left_out:
        del rounds[process.name]
        print(f"left out: {process.name} ({process.left_out})", flush=True)
        arguments.failed += [process.name] * process.failed


def _row(what: Setting, found: list[dict[str, float]]) -> dict[str, Any]:
    """The figures of a subject's rounds."""
    row = {**what, "rounds": len(found)}
    for figure in found[0]:
        values = [each[figure] for each in found]
        spread: dict[str, Any] = {"": statistics.median(values), "_mean": statistics.mean(values)}
        spread |= {"_from": min(values), "_to": max(values)}
        spread |= {"_deviation": statistics.stdev(values)} if len(values) > 1 else {}
        row |= {f"{figure}{key}": round(value, 3) for key, value in spread.items()}
        row[f"{figure}_each"] = [round(value, 3) for value in values]
    return row


def _times(what: Setting, rounds: Mapping[str, list[float]]) -> list[dict[str, Any]]:
    """A row a contender, the fastest first."""
    rows = []
    for name, times in rounds.items():
        figures = {"milliseconds": statistics.median(times), "from": min(times), "to": max(times)}
        figures = {key: round(value, 3) for key, value in figures.items()}
        rows.append({**what, "contender": name, "rounds": len(times), **figures})
    return sorted(rows, key=lambda row: row["milliseconds"])


def _print_table(rows: list[dict[str, Any]], base: str) -> None:
    """Prints such rows, each with its share of the base's time."""
    of = next((row["milliseconds"] for row in rows if row["contender"] == base), None)
    for row in rows:
        took = f"{row['milliseconds']:9.2f}   ({row['from']:.2f} to {row['to']:.2f})"
        share = f"   {row['milliseconds'] / of:.2f} of {base}" if of else ""
        print(f"  {row['contender']:38}{took}{share}", flush=True)


def write(arguments: argparse.Namespace) -> None:
    """Writes what rows there are, and what they depend on, where `--json` says, if it says."""
    if not arguments.json:
        return
    from keras_resnet.saving import write_json

    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    about = {"benchmark": Path(sys.argv[0]).stem, "processor": processor(), "versions": versions}
    write_json(Path(arguments.json), {**about, "rounds": arguments.rounds, "results": arguments.results})


def status(arguments: argparse.Namespace) -> int:
    """The exit status: 1 if a contender has failed, which is not one that cannot be timed here."""
    if arguments.failed:
        print(f"failed: {', '.join(dict.fromkeys(arguments.failed))}", file=sys.stderr)
    return int(bool(arguments.failed))


def processor() -> str:
    """What the machine's is called, behind its GPUs where `nvidia-smi` knows some."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    name = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown")
    if shutil.which("nvidia-smi"):
        words = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode == 0 and (names := done.stdout.splitlines()):
            return f"{len(names)} x {names[0]}, {name}"
    return name
