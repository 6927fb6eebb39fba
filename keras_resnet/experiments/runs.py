"""The runs of an experiment: what is missing is trained, each in a process of its own, and nothing twice.

    runs/cifar10-resnet20-1a2b3c4d/seed0/     a run folder, as `keras-resnet train` leaves it
    results/cifar10-resnet20-1a2b3c4d-seed0.json

A run is named after all that decides it but its seed, so that experiments with a row in common share its runs, however
each of them tests the network.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .. import saving
from ..data import make_available, steps_per_epoch
from ..status import Status
from ..training.interruption import StoppedError, stop_request
from ..training.processes import Processes, epochs_done, last_line
from ..training.recipe import LATER_FIELDS, Recipe, as_json
from .rows import TRAINING_IMAGES, Experiment, Row

DIVERGED = "diverged.json"  # what is left of a run whose loss was lost: it is no less a result
REMEDY = "Delete it: another call makes it anew of what its run has left."


@dataclass(frozen=True)
class Run:
    """One training of a row.

    Attributes:
        row: of the experiment.
        recipe: what is trained, its seed among it.
        out: the folder of all.
        view: how the trained network is tested, as `keras-resnet evaluate` takes it, if not by one view.
        analysis: how it is looked into, as `keras-resnet analyze` takes it, if it is.
    """

    row: Row
    recipe: Recipe
    out: Path
    view: str = ""
    analysis: str = ""

    @property
    def key(self) -> str:
        """The name of all that decides it, but for its seed, where its data lie, and what was so before it was said."""
        decides = {
            name: value
            for name, value in as_json(self.recipe).items()
            if name not in ("seed", "data_dir") and (name, value) not in LATER_FIELDS.items()
        }
        digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:8]
        return f"{self.recipe.dataset.partition(':')[0]}-{self.recipe.model}-{digest}"

    @property
    def folder(self) -> Path:
        """Its run folder."""
        return self.out / "runs" / self.key / f"seed{self.recipe.seed}"

    @property
    def result_file(self) -> Path:
        """Where its result is put down."""
        return self.out / "results" / f"{self.key}-seed{self.recipe.seed}.json"

    def result(self) -> dict[str, Any] | None:
        """What it came to, tested and looked into; None if it has not ended."""
        found = self.trained()
        if found is None or found["diverged"]:
            return found
        if (self.view and self.view not in found["views"]) or (
            self.analysis and self.analysis not in found["analyses"]
        ):
            return None
        return {**found, **found["views"].get(self.view, {})}

    def trained(self) -> dict[str, Any] | None:
        """What its result file holds so far.

        Raises:
            ValueError: it is damaged.
        """
        return saving.read_json(self.result_file, REMEDY) if self.result_file.is_file() else None


def plan(experiment: Experiment, out: Path, seeds: Sequence[int], data_dir: str | None = None) -> list[Run]:
    """The runs of an experiment: all rows with the first seed, then all with the next."""
    return [
        Run(row, experiment.recipe_of(row, seed, data_dir), out, _view(experiment, row), experiment.analysis)
        for seed in seeds
        for row in experiment.rows
    ]


def seeds_with_results(experiment: Experiment, out: Path) -> list[int]:
    """The seeds of which there is a result of any row."""
    seeds = set()
    for run in plan(experiment, out, [0]):
        for file in run.result_file.parent.glob(f"{run.key}-seed*.json"):
            seeds |= {int(number) for number in re.findall(r"-seed(\d+)\.json$", file.name)}
    return sorted(seeds)


def _view(experiment: Experiment, row: Row) -> str:
    view = experiment.view if row.view is None else row.view
    return " ".join(f"--{name} {_typed(value)}" for name, value in view.items())


def _typed(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def carry_out(
    runs: Sequence[Run],
    *,
    workers: int = 1,
    backend: str | None = None,
    scaled: str = "",
    say: Callable[[str], None] = print,
) -> None:
    """Trains the runs that have no result yet; goes on where one was stopped.

    Args:
        runs: the runs.
        workers: how many are trained side by side. Each has a GPU, of its own if there are enough, and its share of the
            processor's cores; one worker has all.
        backend: Keras's backend; None for the one of this process' environment.
        scaled: in what they are smaller than the paper's, if they are; put down with each result.
        say: is told of every run.

    Raises:
        ValueError: data that can neither be opened nor prepared, or a run that came to nothing; the message is then
            what it said last.
        StoppedError: this process or a run was asked to stop; the same call goes on from there.
    """
    missing = list({run.result_file: run for run in runs if run.result() is None}.values())
    for dataset, data_dir in dict.fromkeys((run.recipe.dataset, run.recipe.data_dir) for run in missing):
        make_available(dataset, data_dir)  # here, where one can see how far a download is, and not in every run
    processes = Processes(workers)
    with ThreadPoolExecutor(workers) as pool, processes, stop_request() as stop:
        waiting = {pool.submit(_carry_out, run, processes, backend, scaled): run for run in missing}
        # disable=None: silent where stderr is not a terminal.
        with tqdm(total=sum(map(_length, missing)) or None, desc="Epochs", unit="", disable=None) as bar:
            while waiting:
                ended = wait(waiting, timeout=1, return_when=FIRST_COMPLETED).done
                for future in [future for future in waiting if future in ended]:
                    future.result()  # raises what went wrong; the others are saved on the way out
                    with bar.external_write_mode():
                        say(_line(waiting.pop(future)))
                bar.n = sum(epochs_done(run.folder) for run in missing)
                bar.refresh()
                if waiting and stop.signal:
                    raise StoppedError(f"{stop.signal} came, and the runs are saved where they were")


def _line(run: Run) -> str:
    error = run.result()["error"]
    return f"{run.row.name}, seed {run.recipe.seed}: {'diverged' if error is None else f'{error:.2f} %'}"


def _length(run: Run) -> int:
    """How many epochs it has; 0 where that hangs on a data set which is not known here."""
    recipe = run.recipe
    images = recipe.images or TRAINING_IMAGES.get(recipe.dataset)
    if recipe.epochs or not images:
        return recipe.epochs or 0
    return recipe.epochs_of(steps_per_epoch(images, recipe.batch_size))


def _carry_out(run: Run, processes: Processes, backend: str | None, scaled: str) -> None:
    engine = ["--backend", backend] if backend else []
    data = [run.recipe.dataset, *(["--data-dir", run.recipe.data_dir] if run.recipe.data_dir else [])]

    def command(*words: str) -> str:
        """What a command prints."""
        status, printed, told = processes.run([*words, "--json", *engine])
        if status:
            _raise(run, status, told)
        return printed

    found = run.trained() or _train(run, processes, engine, scaled)
    if found["diverged"]:
        return
    if run.view and run.view not in found["views"]:
        tested = json.loads(command("evaluate", str(run.folder), *data, *run.view.split()))
        found["views"][run.view] = {name: tested[name] for name in ("error", "top5_error", "view")}
        saving.write_json(run.result_file, found)
    if run.analysis and run.analysis not in found["analyses"]:
        (looked,) = json.loads(command("analyze", run.analysis, str(run.folder), *data))["networks"].values()
        found["analyses"][run.analysis] = looked
        saving.write_json(run.result_file, found)


def _train(run: Run, processes: Processes, engine: list[str], scaled: str) -> dict[str, Any]:
    """Trains the network, or goes on where its training stopped; returns the result, which is written."""
    recipe = run.folder.parent / f"seed{run.recipe.seed}-recipe.json"
    saving.write_json(recipe, as_json(run.recipe))
    words = ["train", "--recipe", str(recipe), "--out", str(run.folder), "--json", *engine]
    status, _, told = processes.run(words)
    if status == Status.DIVERGED:
        saving.write_json(run.folder / DIVERGED, {"told": last_line(told)})
    elif status:
        _raise(run, status, told)
    found = {**_result(run), "scaled": scaled}
    saving.write_json(run.result_file, found)
    return found


def _raise(run: Run, status: int, told: str) -> None:
    said = f"{run.row.name}, seed {run.recipe.seed}: {last_line(told)}"
    errors = {Status.TRY_AGAIN: StoppedError, Status.HELD: saving.FolderInUseError}
    raise errors.get(status, ValueError)(said)


def _result(run: Run) -> dict[str, Any]:
    summary_file = run.folder / "summary.json"
    summary = saving.read_json(summary_file, REMEDY) if summary_file.is_file() else {}
    history_file = run.folder / "history.csv"
    rows = list(csv.DictReader(history_file.open(encoding="utf-8"))) if history_file.is_file() else []
    curves = {name: [float(row[name]) for row in rows] for name in (rows[0] if rows else ())}
    recipe = saving.read_json(run.folder / "recipe.json", REMEDY)
    return {
        "model": run.recipe.model,
        "recipe": {name: value for name, value in recipe.items() if name != "data_dir"},  # a place on this machine
        "seed": run.recipe.seed,
        "diverged": (run.folder / DIVERGED).is_file(),
        "error": summary.get("test_error"),
        "summary": summary,
        "curves": curves,
        "views": {},
        "analyses": {},
    }
