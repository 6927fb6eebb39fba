"""Comparisons of contenders that do the same work in turns, each in a process of its own.

In each round, every contender in turn is timed for a while, or measured in a new process from its start to its end. So
whatever else runs on the machine affects all of them, and none is affected by what another left in memory. Loading and
the first two calls, which compile, are not part of a call's time. The result is the median of the rounds and their
spread; for entire training runs, the report shows the mean. The rows measured so far are written after each round. A
contender that fails is skipped and reported at the end, with exit status 1.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workers import Contender, Process, Setting, Subject, work

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


def options(description: str | None, contenders: Mapping[str, Contender | Subject]) -> argparse.ArgumentParser:
    """Parser with the options that all comparisons share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cores", default="2", help="numbers of CPU cores, comma-separated")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="minimum seconds of calls per contender and round")
    parser.add_argument("--only", action="append", choices=contenders, help="run this contender only; may be repeated")
    parser.add_argument("--peers", metavar="FILE", help="script that makes torchvision importable without its wheel")
    parser.add_argument("--json", metavar="FILE", help="file to write the results to")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    return parser


def parse(parser: argparse.ArgumentParser, contenders: Mapping[str, Contender | Subject]) -> argparse.Namespace:
    """Parses the command line. In a worker process, does the contender's work instead and exits."""
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
    """Integers of a comma-separated list."""
    return [int(word) for word in text.split(",")]


def compare(
    contenders: Mapping[str, Contender],
    arguments: argparse.Namespace,
    case: Setting,
    sizes: list[int],
    base: str,
    **setting: Any,
) -> None:
    """Times contenders in turns, and prints a table for each number of cores and each batch size.

    Each batch size has processes of its own, since a program that is compiled for several sizes may differ from one
    that is compiled for a single size.

    Args:
        contenders: by name.
        arguments: the parsed command line. Rows are appended to its "results": the case, cores, batch size and
            contender, "milliseconds" per image (the median over the rounds), "from" and "to" (the fastest and the
            slowest round), and the number of "rounds".
        case: what is compared; part of each row, and passed to the contenders.
        sizes: the batch sizes.
        base: the contender by whose time the others' times are divided.
        **setting: further options for the contenders.
    """
    for cores, size in itertools.product(arguments.cores, sizes):
        passed = {**case, **setting, "size": size, "seconds": arguments.seconds, "peers": arguments.peers}
        processes: list[Process] = []
        for name in arguments.only:
            processes.append(Process(name, contenders[name], passed, cores))
            if len(processes) >= cores:
                _ = processes[-cores].first_answer  # so that no more contenders load at a time than there are cores
        rounds: dict[str, list[float]] = {name: [] for name in arguments.only}
        for process in processes:
            _ = process.first_answer
            _drop_if_skipped(process, rounds, arguments)
        row_case = {**case, "cores": cores, "batch": size}
        earlier_rows, rows = arguments.results, []
        for _ in range(arguments.rounds):
            for process in processes:
                if process.name not in rounds:
                    continue
                if (seconds := process.seconds()) is not None:
                    rounds[process.name].append(1000 * seconds / size)
                _drop_if_skipped(process, rounds, arguments)
            rows = _timing_rows(row_case, rounds)
            arguments.results = [*earlier_rows, *rows]
            write(arguments)
        print(f"\n{', '.join(f'{key} {value}' for key, value in row_case.items())}: milliseconds per image")
        _print_table(rows, base)
        for process in processes:
            process.end()


def measure(
    subjects: Mapping[str, Subject], arguments: argparse.Namespace, case: Setting, *, first: int = 0, **setting: Any
) -> None:
    """Measures subjects in turns, each time in a new process, whose setting holds the number of the "round".

    A row holds the case, the contender, the number of "rounds", and for each figure its median, "FIGURE_mean",
    "FIGURE_from", "FIGURE_to", "FIGURE_each" (all values) and, if there are several rounds, "FIGURE_deviation".

    Args:
        subjects: by name.
        arguments, case, **setting: see `compare`.
        first: the number of the first round.
    """
    passed = {**case, **setting, "seconds": arguments.seconds, "peers": arguments.peers}
    earlier_rows = list(arguments.results)
    for cores in arguments.cores:
        row_case = {**case, "cores": cores}
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in arguments.only}
        for number in range(first, first + arguments.rounds):
            for name in list(rounds):
                process = Process(name, subjects[name], {**passed, "round": number}, cores)
                process.end()
                if figures := process.first_answer:
                    rounds[name].append(figures)
                _drop_if_skipped(process, rounds, arguments)
            rows = [_figures_row({**row_case, "contender": name}, rounds[name]) for name in rounds]
            arguments.results = [*earlier_rows, *rows]
            write(arguments)
        earlier_rows = arguments.results
        print(f"\n{', '.join(f'{key} {value}' for key, value in row_case.items())}")
        for row in arguments.results[len(arguments.results) - len(rounds) :]:
            names = [key.removesuffix("_each") for key in row if key.endswith("_each")]
            figures = ", ".join(f"{row[name]:,g} {name.replace('_', ' ')}" for name in names)
            print(f"  {row['contender']:47}{figures}", flush=True)


def _drop_if_skipped(process: Process, rounds: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Removes a contender that has nothing to time from the rounds; those of the others are retained."""
    if process.skipped:
        del rounds[process.name]
        print(f"skipped: {process.name} ({process.skipped})", flush=True)
        arguments.failed += [process.name] * process.failed


def _figures_row(case: Setting, rounds: list[dict[str, float]]) -> dict[str, Any]:
    """Row of a subject's figures over the rounds."""
    row = {**case, "rounds": len(rounds)}
    for figure in rounds[0]:
        values = [each[figure] for each in rounds]
        spread: dict[str, Any] = {"": statistics.median(values), "_mean": statistics.mean(values)}
        spread |= {"_from": min(values), "_to": max(values)}
        spread |= {"_deviation": statistics.stdev(values)} if len(values) > 1 else {}
        row |= {f"{figure}{suffix}": round(value, 3) for suffix, value in spread.items()}
        row[f"{figure}_each"] = [round(value, 3) for value in values]
    return row


def _timing_rows(case: Setting, rounds: Mapping[str, list[float]]) -> list[dict[str, Any]]:
    """Rows of the contenders, the fastest first."""
    rows = []
    for name, times in rounds.items():
        figures = {"milliseconds": statistics.median(times), "from": min(times), "to": max(times)}
        figures = {key: round(value, 3) for key, value in figures.items()}
        rows.append({**case, "contender": name, "rounds": len(times), **figures})
    return sorted(rows, key=lambda row: row["milliseconds"])


def _print_table(rows: list[dict[str, Any]], base: str) -> None:
    """Prints timing rows, each with its time as a share of the base's."""
    base_time = next((row["milliseconds"] for row in rows if row["contender"] == base), None)
    for row in rows:
        time = f"{row['milliseconds']:9.2f}   ({row['from']:.2f} to {row['to']:.2f})"
        share = f"   {row['milliseconds'] / base_time:.2f} of {base}" if base_time else ""
        print(f"  {row['contender']:38}{time}{share}", flush=True)


def write(arguments: argparse.Namespace) -> None:
    """Writes the rows so far, the processor and the versions of packages to the file that `--json` names, if any."""
    if not arguments.json:
        return
    from keras_resnet.files import write_json

    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    about = {"benchmark": Path(sys.argv[0]).stem, "processor": processor(), "versions": versions}
    write_json(Path(arguments.json), {**about, "rounds": arguments.rounds, "results": arguments.results})


def status(arguments: argparse.Namespace) -> int:
    """Exit status: 1 if a contender has failed. One that cannot be timed on this machine has not failed."""
    if arguments.failed:
        print(f"failed: {', '.join(dict.fromkeys(arguments.failed))}", file=sys.stderr)
    return int(bool(arguments.failed))


def processor() -> str:
    """Name of the machine's processor, preceded by its GPUs if `nvidia-smi` lists any."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    name = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown")
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        result = subprocess.run(query, capture_output=True, text=True)
        if result.returncode == 0 and (gpus := result.stdout.splitlines()):
            return f"{len(gpus)} x {gpus[0]}, {name}"
    return name
