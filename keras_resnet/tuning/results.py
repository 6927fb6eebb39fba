"""The results of a search's trials, as they are stored in its folder.

This module imports neither Keras nor keras-tuner, so that a report does not need them.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..files import read_json
from ..host import NO_MEMORY
from ..status import Status
from ..tables import read_csv
from ..training.processes import last_line

TRIALS = "tuner"  # folder of keras-tuner's state, with a subfolder for each trial
RESULT = "result.json"
MIN_SHARE = 0.25  # share of a trial's epochs before which it is never stopped early
KILLED = (-9, 137)  # exit statuses of a process that the system kills when memory runs out


def trial_folder(folder: str | Path, trial: str) -> Path:
    """Returns the folder of a trial.

    Args:
        folder: folder of the search.
        trial: number of the trial as keras-tuner writes it, counted from 0.
    """
    return Path(folder) / TRIALS / f"trial_{trial}"


def history_file(folder: str | Path, trial: str) -> Path:
    """Returns the path of a trial's `history.csv`, which may not exist yet. See `trial_folder` for the arguments."""
    return trial_folder(folder, trial) / "run" / "history.csv"


def read_history(path: Path) -> list[dict[str, float]]:
    """Returns the rows of a trial's history, one per epoch; none if it does not exist yet. Errors as in `results`."""
    return read_csv(path, "Delete it to continue without this trial's curve.")


def results(folder: str | Path) -> list[dict[str, Any]]:
    """Returns the results of a search's trials so far, by trial number.

    Raises:
        ValueError: a file is damaged.
    """
    unsorted = (_read(path) for path in (Path(folder) / TRIALS).glob(f"trial_*/{RESULT}"))
    return sorted(unsorted, key=lambda result: int(result["trial"]))


def result_of(folder: str | Path, trial: str) -> dict[str, Any]:
    """Returns the result of a trial that has ended. Arguments as in `trial_folder`, errors as in `results`."""
    return _read(trial_folder(folder, trial) / RESULT)


def _read(path: Path) -> dict[str, Any]:
    result = read_json(path, "Delete it to continue without this trial.")
    if "units" in result:  # the former name of the budget
        result["budget"] = result.pop("units")
    return result


def rank(result: Mapping[str, Any]) -> tuple[Any, ...]:
    """Sort key: completed trials first, then the largest budget, then the lowest score."""
    return result["status"] != "done", -result["budget"], result["score"]


class Ending(NamedTuple):
    """How the process of a trial ended.

    Attributes:
        status: its exit status.
        stdout, stderr: its output.
        stopped_early: whether it was stopped because it was hopeless.
    """

    status: int
    stdout: str
    stderr: str
    stopped_early: bool

    @property
    def out_of_memory(self) -> bool:
        """Whether memory ran out."""
        return self.status in KILLED or bool(NO_MEMORY.search(self.stderr))

    @property
    def refused(self) -> bool:
        """Whether the command refused its arguments or data, rather than failed while training."""
        return self.status == Status.MISTAKE and not self.stopped_early and not self.out_of_memory

    def result(self, history: Path, column: str, chance: float) -> dict[str, Any]:
        """Returns the outcome of the trial: "status", "error" (in percent) and "seconds".

        Args:
            history: `history.csv` of its run.
            column: name of the column of the error.
            chance: error of random guessing, recorded for a trial that diverged or failed. keras-tuner must not count
                it as failed, since three failures in a row would end the search.
        """
        if self.status == 0:
            summary = json.loads(self.stdout)
            return {"status": "done", "error": summary[column], "seconds": summary["seconds"]}
        if self.stopped_early:
            last = read_history(history)[-1]
            return {"status": f"stopped after epoch {int(last['epoch'])}", "error": last[column], "seconds": None}
        failed = "diverged" if self.status == Status.DIVERGED else f"failed: {last_line(self.stderr)}"
        return {"status": "out of memory" if self.out_of_memory else failed, "error": chance, "seconds": None}


def hopeless(history: Path, others: Sequence[Path], column: str, epochs: int) -> bool:
    """Returns whether a trial is to be stopped by the median rule (Golovin et al. 2017, section 3.2.2).

    That is if its best error so far is above the median of the other trials' mean errors up to the same epoch, which
    at least three of them must have reached.

    Args:
        history: `history.csv` of the trial.
        others: `history.csv` of each trial of the same budget.
        column: name of the column of the error.
        epochs: number of epochs of the complete trial.
    """
    errors = [row[column] for row in read_history(history)]
    done = len(errors)
    if done < max(1, MIN_SHARE * epochs) or done >= epochs:
        return False
    reached = [rows[:done] for rows in map(read_history, others) if len(rows) >= done]
    averages = [statistics.mean(row[column] for row in rows) for rows in reached]
    return len(averages) >= 3 and min(errors) > statistics.median(averages)


def summary_line(result: Mapping[str, Any], best: float, total: int | None) -> str:
    """Returns a summary of a trial in a line.

    Args:
        result: result of the trial.
        best: score of the best trial so far.
        total: number of trials of the search; None if unknown.
    """
    error = f"{result['error']:.2f} %"
    if result["score"] != result["error"]:  # the trial was penalised; `best` is a score, too
        error += f", score {result['score']:.2f}"
    parts = [error if result["status"] == "done" else f"{result['status']}, {error}"]
    parts += [", ".join(f"{name} {_shown(value)}" for name, value in result["values"].items())]
    parts += [f"{result['parameters']:,} parameters", f"{result['macs'] / 1e6:,.1f}M multiply-adds"]
    parts += [] if result["latency"] is None else [f"{result['latency']:.2f} ms"]
    parts += [f"epochs {result['epochs']}"] + ([] if result["seconds"] is None else [f"{result['seconds']:.0f} s"])
    number = int(result["trial"]) + 1
    return f"trial {number}{f'/{total}' if total else ''}: {'; '.join(parts)} (best {best:.2f})"


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
