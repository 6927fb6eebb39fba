"""What the trials of a search came to, as it lies in the search's folder.

Nothing here needs Keras or keras-tuner, so that a report does not either.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .. import saving
from ..host import NO_MEMORY
from ..status import Status
from ..training.processes import last_line

TRIALS = "tuner"  # the folder of keras-tuner's state, in which every trial has a folder
RESULT = "result.json"
KILLED = (-9, 137)  # what the system does to a process when memory runs out


def trial_folder(folder: str | Path, trial: str) -> Path:
    """The folder of a trial.

    Args:
        folder: of the search.
        trial: the trial's number as keras-tuner writes it, counted from 0.
    """
    return Path(folder) / TRIALS / f"trial_{trial}"


def history_file(folder: str | Path, trial: str) -> Path:
    """The `history.csv` of a trial's run, whether it is there yet or not; arguments as of `trial_folder`."""
    return trial_folder(folder, trial) / "run" / "history.csv"


def results(folder: str | Path) -> list[dict[str, Any]]:
    """What the trials of a search came to so far, in their order.

    Raises:
        ValueError: a damaged file.
    """
    found = (_read(path) for path in (Path(folder) / TRIALS).glob(f"trial_*/{RESULT}"))
    return sorted(found, key=lambda result: int(result["trial"]))


def result_of(folder: str | Path, trial: str) -> dict[str, Any]:
    """What a trial that has ended came to; arguments and errors as of `trial_folder` and `results`."""
    return _read(trial_folder(folder, trial) / RESULT)


def _read(path: Path) -> dict[str, Any]:
    found = saving.read_json(path, "Delete it, and all is as without this trial.")
    if "units" in found:  # as the budget was called at first
        found["budget"] = found.pop("units")
    return found


class Ending(NamedTuple):
    """How the process of a trial ended.

    Attributes:
        status: its exit status.
        printed, told: what it wrote to stdout and to stderr.
        stopped_early: whether it was stopped because it was hopeless.
    """

    status: int
    printed: str
    told: str
    stopped_early: bool

    @property
    def no_memory(self) -> bool:
        """Whether memory ran out."""
        return self.status in KILLED or bool(NO_MEMORY.search(self.told))

    @property
    def refused(self) -> bool:
        """Whether the command could not do what it was told, rather than failed in doing it."""
        return self.status == Status.MISTAKE and not self.stopped_early and not self.no_memory

    def result(self, history: Path, column: str, chance: float) -> dict[str, Any]:
        """What the trial came to: "status", "error" and "seconds".

        Args:
            history: the `history.csv` of its run.
            column: of the error.
            chance: the error of chance, which stands for that of a trial that came to nothing; if it failed instead,
                three in a row would end keras-tuner's search.
        """
        if self.status == 0:
            summary = json.loads(self.printed)
            return {"status": "done", "error": summary[column], "seconds": summary["seconds"]}
        if self.stopped_early:
            *_, last = csv.DictReader(history.read_text(encoding="utf-8").splitlines())
            return {"status": f"stopped behind epoch {last['epoch']}", "error": float(last[column]), "seconds": None}
        failed = "diverged" if self.status == Status.DIVERGED else f"failed: {last_line(self.told)}"
        return {"status": "out of memory" if self.no_memory else failed, "error": chance, "seconds": None}


def summary_line(result: Mapping[str, Any], best: float, of: int | None) -> str:
    """A trial in a line.

    Args:
        result: what it came to.
        best: the lowest score so far.
        of: how many trials there will be; None if that is not known.
    """
    error = f"{result['error']:.2f} %"
    told = [error if result["status"] == "done" else f"{result['status']}, {error}"]
    told += [", ".join(f"{name} {_shown(value)}" for name, value in result["values"].items())]
    told += [f"{result['parameters']:,} parameters", f"{result['macs'] / 1e6:,.1f}M multiply-adds"]
    told += [] if result["latency"] is None else [f"{result['latency']:.2f} ms"]
    told += [f"epochs {result['epochs']}"] + ([] if result["seconds"] is None else [f"{result['seconds']:.0f} s"])
    number = int(result["trial"]) + 1
    return f"trial {number}{f'/{of}' if of else ''}: {'; '.join(told)} (best {best:.2f})"


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
