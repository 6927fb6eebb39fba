"""Contenders that do the same work in turns, each in a process of its own.

Round by round, each is asked how long a call takes, or is looked at from its start in a new process, so that whatever
else the machine does meets all of them, and none feels what another left in memory. Loading and the first two calls of
each size, which compile, are no part of a call's time. Told are the median of the rounds and their spread; of whole
runs, the report has the mean.
"""

from __future__ import annotations

import argparse
import importlib.metadata
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
WARM_UP = 2  # calls of each size

Setting = Mapping[str, Any]  # what all contenders are told, as JSON takes it


@dataclass(frozen=True)
class Contender:
    """Someone who can do the work.

    Attributes:
        load: from the setting to what is timed: a call that takes a size, such as the images of a batch. Raises
            LookupError if there is nothing to time here, such as a package that is not installed.
        backend: of Keras, if it runs on one.
        computes: whether the call is not timed, but answers the seconds that it has worked out.
    """

    load: Callable[[Setting], Callable[[int], Any]]
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
    return arguments


def numbers(text: str) -> list[int]:
    """Whole numbers with commas between them."""
    return [int(word) for word in text.split(",")]


def as_the_command() -> None:
    """Has a contender's process begin as the `keras-resnet` command does, before Keras is imported."""
    from keras_resnet import backend, keep_memory

    backend.settle()
    keep_memory()


def work(contender: Contender | Subject, setting: Setting) -> None:
    """A contender's process: loads, then reads sizes, and answers seconds a call, until there are no more.

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
        call, warm = found, set()
        for line in sys.stdin:
            size, seconds = int(line), []
            if contender.computes:
                print(json.dumps(call(size)), file=out)
                continue
            for _ in range(0 if size in warm else WARM_UP):
                call(size)
            warm.add(size)
            while sum(seconds) < setting["seconds"]:
                begun = time.perf_counter()
                call(size)
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
    def found(self) -> dict[str, Any]:
        """The figures of a subject; of a contender, waits until it has loaded."""
        try:
            return self._answer()
        except MemoryError as error:
            return {"left out": str(error)}

    @property
    def left_out(self) -> str | None:
        """Why there is nothing to time, if there is not."""
        return self.found.get("left out")

    def seconds(self, size: int) -> float:
        """Seconds a call, the median of a round's.

        Raises:
            MemoryError: it has been killed, as the system does for want of memory.
        """
        with suppress(BrokenPipeError):  # it has ended, and the answer says how
            self._process.stdin.write(f"{size}\n")
        return self._answer()

    def _answer(self) -> Any:
        """What the process says next.

        Raises:
            MemoryError: it has been killed.
            RuntimeError: it has ended.
        """
        if line := self._process.stdout.readline():
            return json.loads(line)
        if self._process.wait() == -signal.SIGKILL:
            raise MemoryError("killed, probably for want of memory; try fewer at a time, with --only")
        self._errors.seek(0)
        raise RuntimeError(f"{self.name} ended: {self._errors.read()[-2000:].decode(errors='replace')}")

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
) -> list[dict[str, Any]]:
    """Has contenders do a case in turns, and prints a table for each number of cores and each size.

    Args:
        contenders: by name.
        arguments: the command line.
        case: what the case is, for the result and for contenders.
        sizes: the batch sizes.
        base: the contender by whose time the others' are divided.
        **setting: what else contenders are told.

    Returns:
        A row a case, size and contender: "milliseconds" an image, the rounds' median, and "from" and "to".
    """
    told = {**case, **setting, "sizes": sizes, "seconds": arguments.seconds, "peers": arguments.peers}
    results = []
    for cores in arguments.cores:
        every: list[Process] = []
        for name in arguments.only:
            every.append(Process(name, contenders[name], told, cores))
            if len(every) >= cores:
                _ = every[-cores].found  # a core for each that loads, which is not timed
        there = [process for process in every if not process.left_out]
        for process in every:
            if process.left_out:
                print(f"left out: {process.name} ({process.left_out})")
        for size in sizes:
            rounds: dict[str, list[float]] = {process.name: [] for process in there}
            for _ in range(arguments.rounds):
                for process in list(there):
                    try:
                        rounds[process.name].append(1000 * process.seconds(size) / size)
                    except MemoryError as error:  # what the others did is kept
                        there.remove(process)
                        del rounds[process.name]
                        print(f"left out: {process.name} ({error})", flush=True)
            what = {**case, "cores": cores, "batch": size}
            print(f"\n{', '.join(f'{key} {value}' for key, value in what.items())}: milliseconds an image")
            results += _table(what, rounds, base)
        for process in every:
            process.end()
    return results


def look_at(
    subjects: Mapping[str, Subject], arguments: argparse.Namespace, case: Setting, **setting: Any
) -> list[dict[str, Any]]:
    """Looks at subjects in turns, in a new process each time, which is told the number of its "round"; see `compare`.

    Returns:
        A row a case and subject: of each figure the rounds' median, "FIGURE_mean", "FIGURE_from" and "FIGURE_to".
    """
    told = {**case, **setting, "seconds": arguments.seconds, "peers": arguments.peers}
    results = []
    for cores in arguments.cores:
        rounds: dict[str, list[dict[str, float]]] = {}
        left_out: dict[str, str] = {}
        for number in range(arguments.rounds):
            for name in arguments.only:
                if name in left_out:
                    continue
                process = Process(name, subjects[name], {**told, "round": number}, cores)
                process.end()
                if process.left_out:
                    left_out[name] = process.left_out
                    rounds.pop(name, None)
                    print(f"left out: {name} ({process.left_out})", flush=True)
                else:
                    rounds.setdefault(name, []).append(process.found)
        what = {**case, "cores": cores}
        print(f"\n{', '.join(f'{key} {value}' for key, value in what.items())}")
        for name, found in rounds.items():
            row = {**what, "contender": name}
            for figure in found[0]:
                values = [each[figure] for each in found]
                spread = {"": statistics.median(values), "_mean": statistics.mean(values)}
                spread |= {"_from": min(values), "_to": max(values)}
                row |= {f"{figure}{key}": round(value, 3) for key, value in spread.items()}
            words = ", ".join(f"{row[figure]:,g} {figure.replace('_', ' ')}" for figure in found[0])
            print(f"  {name:47}{words}", flush=True)
            results.append(row)
    return results


def _table(what: Setting, rounds: Mapping[str, list[float]], base: str) -> list[dict[str, Any]]:
    """Prints contenders, the fastest first, and returns their rows."""
    medians = {name: statistics.median(times) for name, times in rounds.items()}
    rows = []
    for name, times in sorted(rounds.items(), key=lambda pair: medians[pair[0]]):
        share = f"   {medians[name] / medians[base]:.2f} of {base}" if base in medians else ""
        print(f"  {name:34}{medians[name]:9.2f}   ({min(times):.2f} to {max(times):.2f}){share}", flush=True)
        figures = {"milliseconds": medians[name], "from": min(times), "to": max(times)}
        rows.append({**what, "contender": name, **{key: round(value, 3) for key, value in figures.items()}})
    return rows


def write(arguments: argparse.Namespace, results: list[dict[str, Any]]) -> None:
    """Writes what rows there are, and what they depend on, where `--json` says, if it says; again behind each case."""
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
    write_json(Path(arguments.json), {**about, "rounds": arguments.rounds, "results": results})


def processor() -> str:
    """What the machine's is called, or its GPUs where `nvidia-smi` knows some."""
    if shutil.which("nvidia-smi"):
        words = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode == 0 and (names := done.stdout.splitlines()):
            return f"{len(names)} x {names[0]}"
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown")
