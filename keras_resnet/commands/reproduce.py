"""`keras-resnet reproduce`: experiments behind the papers' tables and figures."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .. import backend
from ..files import json_text
from ..options import file_name, positive
from ..status import Status
from .common import Commands, backend_option, data_dir_option, say

if TYPE_CHECKING:
    from ..experiments.rows import Experiment
    from ..experiments.runs import Run


def add(commands: Commands) -> None:
    """Registers the command's arguments."""
    parser = commands.add(
        "reproduce",
        run,
        "Reruns a table or figure of the papers and compares the results with theirs; resumes when run again.",
        "reproduce he2015-table6 --out experiments --seeds 3 --budget depth=20,epochs=6,images=10000",
    )
    parser.add_argument(
        "experiment", nargs="?", metavar="NAME", help="an experiment, such as he2016-table2; --list names all"
    )
    parser.add_argument("--list", action="store_true", help="list the experiments and exit")
    parser.add_argument(
        "--out",
        type=file_name,
        metavar="FOLDER",
        default="experiments",
        help="folder for all runs and reports [experiments]",
    )
    parser.add_argument("--seeds", type=positive, default=5, metavar="N", help="runs per row; the 2016 paper has 5 [5]")
    parser.add_argument("--only", action="append", metavar="ROW", help="run this row only; may be repeated")
    parser.add_argument(
        "--budget",
        metavar="NAME=N,...",
        help="smaller runs, marked as scaled: depth (of the deepest network), epochs, images (training images)",
    )
    parser.add_argument("--workers", type=positive, default=1, metavar="N", help="number of parallel runs [1]")
    parser.add_argument("--dry-run", action="store_true", help="print the runs and their cost, and exit")
    parser.add_argument(
        "--report", action="store_true", help="run nothing; report all finished runs, of all rows and seeds"
    )
    data_dir_option(parser)
    backend_option(parser)


def run(arguments: argparse.Namespace) -> int:
    from ..experiments.budget import Budget
    from ..experiments.papers import find_experiment

    if arguments.list:
        return _list(arguments)
    if arguments.experiment is None:
        raise ValueError("Name an experiment, such as he2016-table2; `keras-resnet reproduce --list` names all.")
    budget = Budget.parse(arguments.budget)
    experiment = budget.scale(find_experiment(arguments.experiment))
    chosen = experiment.only(arguments.only) if arguments.only else experiment
    backend.select_backend(arguments.backend)
    from ..experiments.runs import plan

    runs = plan(chosen, Path(arguments.out), range(arguments.seeds), arguments.data_dir)
    if arguments.dry_run:
        return _estimate(arguments, runs, str(budget))
    return _carry_out(arguments, experiment, [] if arguments.report else runs, str(budget))


def _list(arguments: argparse.Namespace) -> int:
    """Prints the names of the experiments."""
    from ..experiments.papers import EXPERIMENTS

    rows = [
        {"name": name, "source": experiment.source, "title": experiment.title, "rows": len(experiment.rows)}
        for name, experiment in EXPERIMENTS.items()
    ]
    lines = [f"{row['name']:22}{row['rows']:3} rows  {row['title']}" for row in rows]
    print(json_text(rows) if arguments.json else "\n".join(lines))
    return Status.DONE


def _estimate(arguments: argparse.Namespace, runs: Sequence[Run], scaled: str) -> int:
    """Prints what the runs would cost, without running any."""
    from ..experiments import estimate

    speed = estimate.speed()
    rows = [estimate.costs(run, speed) for run in runs]
    if arguments.json:
        print(json_text({"macs_per_second": speed, "scaled": scaled, "runs": rows}))
        return Status.DONE
    # Rows of the same network that are only tested differently share a run, which costs once.
    distinct = {run.folder: row for run, row in zip(runs, rows, strict=True) if row["state"] != "done"}
    hours = sum(row["hours"] for row in distinct.values())
    print(
        f"{estimate.table(rows)}\n\n"
        f"The remaining runs take about {hours:,.1f} hours, one after the other. This assumes {speed / 1e9:,.1f} "
        "billion multiply-adds per second (of forward passes), as just measured by training ResNet-20 on this machine."
        + (f"\nScaled: {scaled}." if scaled else "")
    )
    return Status.DONE


def _carry_out(arguments: argparse.Namespace, experiment: Experiment, runs: Sequence[Run], scaled: str) -> int:
    """Trains the runs that are missing, and reports all finished runs of the experiment."""
    from ..experiments.report import report_name, write_report
    from ..experiments.runs import carry_out, plan, seeds_with_results

    out = Path(arguments.out)
    try:
        carry_out(runs, workers=arguments.workers, backend=arguments.backend, scaled=scaled, say=say)
    finally:
        # The report covers all runs in the folder, not only those of this call.
        report = write_report(experiment, plan(experiment, out, seeds_with_results(experiment, out)), out, scaled)
    if arguments.json:
        print(json_text(report))
        return Status.DONE
    name = report_name(experiment, out, scaled)
    print((out / f"{name}.md").read_text(encoding="utf-8"))
    print(f"Written to {out}/{name}.html")
    return Status.DONE
