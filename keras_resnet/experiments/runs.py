"""The runs of an experiment: those without a result are trained, each in a process of its own, and none twice.

    runs/cifar10-resnet20-1a2b3c4d/seed0/           a run folder, as `keras-resnet train` writes it
    results/cifar10-resnet20-1a2b3c4d-seed0.json    its result

The name of a run is derived from everything that decides it except its seed. Experiments with a row in common therefore
share its runs, even if they test the network differently.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..data import make_available, steps_per_epoch
from ..evaluation.views import Views
from ..files import FolderInUseError, read_json, write_json
from ..options import format_value, to_arguments
from ..status import Status
from ..tables import read_csv
from ..training.interruption import StoppedError, stop_request
from ..training.processes import Processes, epochs_done, last_line
from ..training.recipe import LATER_FIELDS, Recipe, as_json
from .rows import TRAINING_IMAGES, Experiment, Row

DIVERGED = "diverged.json"  # marks a run that diverged, which is a result, too
REMEDY = "Delete it: the next call recreates it from the run folder."


@dataclass(frozen=True)
class Run:
    """A run of a row: its training with one seed.

    Attributes:
        row: row of the experiment.
        recipe: recipe of the training, including its seed.
        out: folder of all experiments.
        views: views of the test images; None for the single view on which training ends.
        analysis: analysis of the trained network, as named by `keras-resnet analyze`; empty for none.
    """

    row: Row
    recipe: Recipe
    out: Path
    views: Views | None = None
    analysis: str = ""

    @property
    def view_choices(self) -> dict[str, Any]:
        """The fields of the views that differ from those of a single view; empty for that single view."""
        if self.views is None:
            return {}
        values = {entry.name: getattr(self.views, entry.name) for entry in fields(Views)}
        return {name: value for name, value in values.items() if value != getattr(Views(), name)} or {"crops": 1}

    @property
    def views_key(self) -> str:
        """The views' name in the result, such as "--crops 10"; empty for that single view."""
        return " ".join(f"--{name} {format_value(value)}" for name, value in self.view_choices.items())

    @property
    def key(self) -> str:
        """Name derived from the recipe, without seed, data folder, and `LATER_FIELDS` with their former meaning."""
        deciding = {
            name: value
            for name, value in as_json(self.recipe).items()
            if name not in ("seed", "data_dir") and (name, value) not in LATER_FIELDS.items()
        }
        digest = hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:8]
        return f"{self.recipe.dataset.partition(':')[0]}-{self.recipe.model}-{digest}"

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.out / "runs" / self.key / f"seed{self.recipe.seed}"

    @property
    def result_file(self) -> Path:
        """The JSON file of the result."""
        return self.out / "results" / f"{self.key}-seed{self.recipe.seed}.json"

    def result(self) -> dict[str, Any] | None:
        """Returns the result, with the errors of its views; None if training, test or analysis is missing.

        Raises:
            ValueError: its file is damaged.
        """
        result = self.trained()
        if result is None or result["diverged"]:
            return result
        views = self.views_key
        if (views and views not in result["views"]) or (self.analysis and self.analysis not in result["analyses"]):
            return None
        return {**result, **result["views"].get(views, {})}

    def trained(self) -> dict[str, Any] | None:
        """Returns the contents of the result file; None before training has ended.

        Raises:
            ValueError: the file is damaged.
        """
        return read_json(self.result_file, REMEDY) if self.result_file.is_file() else None


def plan(experiment: Experiment, out: Path, seeds: Sequence[int], data_dir: str | None = None) -> list[Run]:
    """Returns the runs of an experiment: all rows with the first seed, then all rows with the next."""
    return [
        Run(row, experiment.recipe_of(row, seed, data_dir), out, row.views or experiment.views, experiment.analysis)
        for seed in seeds
        for row in experiment.rows
    ]


def seeds_with_results(experiment: Experiment, out: Path) -> list[int]:
    """Returns the seeds for which any row has a result."""
    seeds = set()
    for run in plan(experiment, out, [0]):
        for file in run.result_file.parent.glob(f"{run.key}-seed*.json"):
            seeds |= {int(number) for number in re.findall(r"-seed(\d+)\.json$", file.name)}
    return sorted(seeds)


def carry_out(
    runs: Sequence[Run],
    *,
    workers: int = 1,
    backend: str | None = None,
    scaled: str = "",
    say: Callable[[str], None] = print,
) -> None:
    """Trains, tests and analyses the runs that have no result yet; resumes those that were stopped.

    Args:
        runs: the runs.
        workers: number of runs trained in parallel. Each uses one GPU, its own if there are enough, and an equal share
            of the CPU cores; a single worker uses all.
        backend: Keras backend; None for the one of the environment.
        scaled: how the runs are scaled down, which is saved with each result; empty if they are not.
        say: called with a line of text after each run.

    Raises:
        ValueError: data can be neither opened nor prepared, or a run fails; the message is then its last line.
        StoppedError: this process or a run was asked to stop; the same call resumes.
    """
    groups = _missing(runs)
    missing = [run for run, *_ in groups]  # trainings: the other runs of a group are only tested differently
    for dataset, data_dir in dict.fromkeys((run.recipe.dataset, run.recipe.data_dir) for run in missing):
        make_available(dataset, data_dir)  # here, where the progress of a download is visible, and not in each run
    processes = Processes(workers, backend)
    with ThreadPoolExecutor(workers) as pool, processes, stop_request() as stop:
        pending = {pool.submit(_carry_out_all, group, processes, scaled): group for group in groups}
        # disable=None hides the bar where stderr is not a terminal.
        with tqdm(total=sum(map(_length, missing)) or None, desc="Epochs", unit="", disable=None) as bar:
            while pending:
                ended = wait(pending, timeout=1, return_when=FIRST_COMPLETED).done
                for future in [future for future in pending if future in ended]:
                    errors = future.result()  # or raises that of a run; leaving the block stops and saves the others
                    with bar.external_write_mode():
                        for run, error in zip(pending.pop(future), errors, strict=True):
                            say(_line(run, error))
                bar.n = sum(epochs_done(run.folder) for run in missing)
                bar.refresh()
                if pending and stop.signal:
                    raise StoppedError(f"stopped by {stop.signal}; the runs are saved")


def _missing(runs: Sequence[Run]) -> list[list[Run]]:
    """Returns the runs that have no result yet, those of one training together, and each test of it once."""
    groups: dict[Path, dict[str, Run]] = {}
    for run in runs:
        if run.result() is None:
            groups.setdefault(run.result_file, {}).setdefault(run.views_key, run)
    return [list(group.values()) for group in groups.values()]


def _line(run: Run, error: float | None) -> str:
    return f"{run.row.name}, seed {run.recipe.seed}: {'diverged' if error is None else f'{error:.2f} %'}"


def _length(run: Run) -> int:
    """Returns the number of epochs of a run; 0 if it depends on a data set whose size is unknown."""
    recipe = run.recipe
    images = recipe.images or TRAINING_IMAGES.get(recipe.dataset)
    if recipe.epochs or not images:
        return recipe.epochs or 0
    return recipe.epochs_of(steps_per_epoch(images, recipe.batch_size))


def _carry_out_all(runs: Sequence[Run], processes: Processes, scaled: str) -> list[float | None]:
    """Carries out the runs of one training, one after the other; returns their errors, as `_carry_out` does."""
    return [_carry_out(run, processes, scaled) for run in runs]


def _carry_out(run: Run, processes: Processes, scaled: str) -> float | None:
    """Trains, tests and analyses a run; returns its error in percent, or None if it diverged."""
    data = [run.recipe.dataset, *(["--data-dir", run.recipe.data_dir] if run.recipe.data_dir else [])]

    def command(*words: str) -> str:
        """Runs a command and returns its stdout."""
        status, stdout, stderr = processes.run([*words, "--json"])
        if status:
            _raise(run, status, stderr)
        return stdout

    result = run.trained() or _train(run, processes, scaled)
    if result["diverged"]:
        return None
    if run.views and run.views_key not in result["views"]:
        test = json.loads(command("evaluate", str(run.folder), *data, *to_arguments(run.view_choices)))
        result["views"][run.views_key] = {name: test[name] for name in ("error", "top5_error", "view")}
        write_json(run.result_file, result)
    if run.analysis and run.analysis not in result["analyses"]:
        (analysis,) = json.loads(command("analyze", run.analysis, str(run.folder), *data))["networks"].values()
        result["analyses"][run.analysis] = analysis
        write_json(run.result_file, result)
    return result["views"].get(run.views_key, result)["error"]


def _train(run: Run, processes: Processes, scaled: str) -> dict[str, Any]:
    """Trains the network, or resumes its training; writes and returns the result."""
    recipe = run.folder.parent / f"seed{run.recipe.seed}-recipe.json"
    write_json(recipe, as_json(run.recipe))
    words = ["train", "--recipe", str(recipe), "--out", str(run.folder), "--json"]
    status, _, stderr = processes.run(words)
    if status == Status.DIVERGED:
        write_json(run.folder / DIVERGED, {"told": last_line(stderr)})
    elif status:
        _raise(run, status, stderr)
    result = {**_result(run), "scaled": scaled}
    write_json(run.result_file, result)
    return result


def _raise(run: Run, status: int, stderr: str) -> None:
    errors: dict[int, type[Exception]] = {Status.TRY_AGAIN: StoppedError, Status.HELD: FolderInUseError}
    raise errors.get(status, ValueError)(f"{run.row.name}, seed {run.recipe.seed}: {last_line(stderr)}")


def _result(run: Run) -> dict[str, Any]:
    summary_file = run.folder / "summary.json"
    summary = read_json(summary_file, REMEDY) if summary_file.is_file() else {}
    recipe = read_json(run.folder / "recipe.json", REMEDY)
    return {
        "model": run.recipe.model,
        "recipe": {name: value for name, value in recipe.items() if name != "data_dir"},  # a path on this machine
        "seed": run.recipe.seed,
        "diverged": (run.folder / DIVERGED).is_file(),
        "error": summary.get("test_error"),
        "summary": summary,
        "curves": _curves(run.folder / "history.csv"),
        "views": {},
        "analyses": {},
    }


def _curves(history: Path) -> dict[str, list[float]]:
    """Returns the columns of a history; empty if there is none, as of a run that diverged in its first epoch.

    Raises:
        ValueError: it is damaged.
    """
    remedy = "Delete it and the summary.json beside it: the next call writes both again, by the last checkpoint."
    rows = read_csv(history, remedy)
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
