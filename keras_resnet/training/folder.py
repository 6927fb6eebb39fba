"""The folder of a run: its files, its lock, and how a run is resumed from it.

    recipe.json    everything that determines the run
    history.csv    a row for each epoch
    curves.png     the history as a plot
    model.keras    the trained network, which takes raw images
    summary.json   the result; written last, so a folder without it belongs to a run that has not finished
    profile/       the time and the trace of some steps, if the run is profiled
    probe/         the folder of the linear probe, if the run begins with one: a run folder like this one
    checkpoints/   the last two, each one file: weights, optimizer, history, state; `epoch_0003_step_000120.keras` was
                   written within the fourth epoch

Every file is written atomically, and only one process at a time writes: in a run of several processes, the chief. The
others read, so all processes must see the same folder.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from .. import saving
from ..files import first_line, lock, read_json, remove_partial, write_atomically, write_json, write_text
from ..host import NO_MEMORY
from ..tables import csv_table
from .identity import changes
from .interruption import NOT_BEGUN
from .recipe import Recipe, as_json, with_later_fields

KEPT_CHECKPOINTS = 2
SECONDS_BETWEEN_PLOTS = 60
REMEDY = "Choose another folder with --out."


@dataclass
class Progress:
    """The progress of a run: its state beyond the variables of its network and optimizer.

    Attributes:
        history: a row for each completed epoch.
        step: steps completed in the current epoch.
        seconds: time spent on these steps.
        metrics: values of the metrics' variables after these steps, in Keras's order: a single list, or a list for
            each process, which add up to the values.
        state: state of the learning-rate callback.
    """

    history: list[dict[str, Any]] = field(default_factory=list)
    step: int = 0
    seconds: float = 0.0
    metrics: list[list[float]] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def begun(self) -> bool:
        """Whether a step has been completed."""
        return bool(self.history or self.step)

    @property
    def saved(self) -> str:
        """Says which progress is saved."""
        return f"the run is saved after {self}" if self.begun else NOT_BEGUN

    def __str__(self) -> str:
        completed = len(self.history)
        return f"step {self.step} of epoch {completed + 1}" if self.step else f"epoch {completed}"


class RunFolder:
    """A run's folder.

    Args:
        path: the folder, which is created when something is written.
        writes: whether this process writes; if not, the methods that write do nothing.
    """

    def __init__(self, path: str | Path, writes: bool = True) -> None:
        self.path = Path(path)
        self.writes = writes
        self.recipe, self.history, self.curves, self.model, self.summary = (
            self.path / name for name in ("recipe.json", "history.csv", "curves.png", "model.keras", "summary.json")
        )
        self.checkpoints = self.path / "checkpoints"
        self._recipe: dict[str, Any] = {}
        self._title = ""
        self._damaged: set[Path] = set()  # checkpoints that cannot be read
        self._plotted = time.monotonic()

    def check(self, recipe: Recipe) -> None:
        """Checks that a run of this recipe may write to the folder.

        A run without any checkpoint has produced nothing of value, so another run may overwrite its recipe. A recipe
        written by hand must not be overwritten; it is recognised by its missing fields.

        Raises:
            ValueError: the path is not a folder, or holds other files, a recipe written by hand, or another run.
        """
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise ValueError(f"{str(self.path)!r} is a file, not a run folder. {REMEDY}")
        visible = {path.name for path in self.path.iterdir() if not path.name.startswith(".")}
        saved = self.saved_recipe()
        if not saved and self.recipe.name not in visible:
            if visible:
                raise ValueError(f"{str(self.path)!r} holds files but no recipe.json. {REMEDY}")
            return
        saved = with_later_fields(saved)
        begun = self.summary.exists() or self.newest_first()
        if not begun and as_json(recipe).keys() - saved.keys():
            raise ValueError(f"{str(self.recipe)!r} was not written by a run and would be overwritten. {REMEDY}")
        if begun and (difference := changes(saved, as_json(recipe))):
            raise ValueError(f"{str(self.path)!r} holds another run: {difference}. {REMEDY}")

    def lock(self) -> AbstractContextManager[None]:
        """Returns a context manager that creates the folder and locks it for this process, if it writes.

        The lock is released even if the process is killed.

        Raises:
            FolderInUseError: another process holds the lock.
        """
        return lock(self.path, "trains in") if self.writes else contextlib.nullcontext()

    def begin(self, recipe: Recipe) -> None:
        """Writes the recipe to the locked folder.

        A process that does not write does not read it either, since the chief may be writing it.

        Raises:
            ValueError: another run has begun in the folder since it was checked.
        """
        self._recipe, self._title = as_json(recipe), f"{recipe.title} on {recipe.dataset}"
        if not self.writes:
            return
        self.check(recipe)
        write_json(self.recipe, self._recipe)
        for folder in (self.path, self.checkpoints):
            remove_partial(folder)

    def saved_recipe(self) -> dict[str, Any]:
        """Returns the resolved recipe of the run in the folder; empty if there is none.

        If its file is lost, it is that of the newest checkpoint: where old files are removed, as from a cluster's
        scratch disk, it is the first to go, and a folder that was moved while its run went on has only later files.

        Raises:
            ValueError: it is damaged.
        """
        if self.recipe.exists():
            return read_json(self.recipe, f"Delete it if there are checkpoints, which have a copy; otherwise: {REMEDY}")
        for path in self.newest_first():
            with contextlib.suppress(ValueError, OSError):  # it is damaged, too
                if recipe := saving.read_info(path).get("recipe"):
                    return recipe
        return {}

    def saved_summary(self) -> dict[str, Any] | None:
        """Returns the summary of the run, or None if it has not finished.

        Raises:
            ValueError: it is damaged.
        """
        remedy = f"Delete it: the same command then writes it again, by the last checkpoint. Or: {REMEDY}"
        if not self.summary.exists():
            return None
        summary = read_json(self.summary, remedy)
        if "epochs" not in summary:
            raise ValueError(f"{str(self.summary)!r} is damaged: it is not the summary of a run. {remedy}")
        return summary

    def write_checkpoint(self, model: keras.Model, seeds: Sequence[keras.Variable], progress: Progress) -> None:
        """Saves everything that the run needs to be resumed, and deletes checkpoints that are no longer needed.

        Args:
            model, seeds: as in `restore`.
            progress: the progress of the run.
        """
        if not self.writes:
            return
        seeds = [keras.ops.convert_to_numpy(variable).tolist() for variable in seeds]
        info = {"recipe": self._recipe, "seeds": seeds, **dataclasses.asdict(progress)}
        step = f"_step_{progress.step:06d}" if progress.step else ""
        path = self.checkpoints / f"epoch_{len(progress.history):04d}{step}.keras"
        saving.save(model, path, info)
        self._damaged.discard(path)
        for old in [path for path in self.newest_first() if path not in self._damaged][KEPT_CHECKPOINTS:]:
            old.unlink()

    def restore(
        self, model: keras.Model, seeds: Sequence[keras.Variable], say: Callable[[str], None] = print
    ) -> Progress:
        """Restores a compiled model from the newest checkpoint that is intact.

        Args:
            model: the model.
            seeds: the states of the random generators of training, see `seed_variables`.
            say: called with a line for each damaged checkpoint that is skipped.

        Returns:
            The progress of the run at that checkpoint; that of a new run if there is no checkpoint.

        Raises:
            ValueError: there are checkpoints, but all are damaged or of another run.
        """
        problems = []
        for path in self.newest_first():
            try:
                progress = self._load(model, seeds, path)
            except Exception as error:  # a damaged or foreign file may raise any error in Keras
                if NO_MEMORY.search(f"{type(error).__name__}: {error}"):
                    raise  # the checkpoint is not to blame, and must not be given up
                problems.append(f"{path.name}: {first_line(error)}")
                self._damaged.add(path)
                continue
            for problem in problems:
                say(f"Skipping a damaged checkpoint. {problem}")
            return progress
        if problems:
            raise ValueError(
                f"No checkpoint in {str(self.checkpoints)!r} fits this run. {problems[0]} "
                "Choose another folder with --out, or delete this one to start over."
            )
        return Progress()

    def _load(self, model: keras.Model, seeds: Sequence[keras.Variable], path: Path) -> Progress:
        saving.verify(path)
        info = saving.read_info(path)
        if "history" not in info:
            raise ValueError("it is not a checkpoint of a run")
        if difference := changes(with_later_fields(info["recipe"]), self._recipe):
            raise ValueError(f"it is of another run: {difference}")
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "Skipping variable loading")  # for the optimizer
            model.load_weights(path)
        for variable, value in zip(seeds, info["seeds"], strict=True):
            variable.assign(np.asarray(value, dtype="uint32"))
        return Progress(**{entry.name: info[entry.name] for entry in dataclasses.fields(Progress)})

    def write_history(self, history: list[dict[str, Any]], *, last: bool = False) -> None:
        """Writes `history.csv`, and its plot after the last epoch or if the previous plot is a minute old."""
        if not self.writes:
            return
        write_text(self.history, csv_table(history))
        if last or time.monotonic() - self._plotted > SECONDS_BETWEEN_PLOTS:
            from .curves import draw_curves  # imports matplotlib, which takes a second

            write_atomically(self.curves, lambda path: draw_curves(history, path, self._title))
            self._plotted = time.monotonic()

    def write_result(self, model: keras.Model, info: dict[str, Any], summary: dict[str, Any]) -> None:
        """Writes the trained network, the information saved with it, and the run's summary."""
        if self.writes:
            saving.save(model, self.model, info)
            write_json(self.summary, summary)

    def networks(self) -> list[Path]:
        """Returns the files that hold the run's network: the trained model, if any, then checkpoints, newest first."""
        return [*([self.model] if self.model.exists() else []), *self.newest_first()]

    def newest_first(self) -> list[Path]:
        """Returns the checkpoints, newest first.

        Raises:
            OSError: their folder exists and cannot be read; a run that took it for an empty one would start over.
        """
        try:
            paths = list(self.checkpoints.iterdir())  # `glob` leaves out what it cannot read
        except FileNotFoundError:
            return []
        return sorted((path for path in paths if path.match("epoch_*.keras")), key=_position, reverse=True)


def _position(checkpoint: Path) -> list[int]:
    """Returns the position of a checkpoint in the run: completed epochs, and completed steps of the next if any."""
    return [int(number) for number in re.findall(r"\d+", checkpoint.stem)]


def seed_variables(model: keras.Model) -> list[keras.Variable]:
    """Returns the states of a model's random generators, which Keras does not save with the weights."""
    return [variable for variable in model.non_trainable_variables if "seed_generator" in variable.path]
