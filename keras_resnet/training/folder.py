"""The folder that a run leaves, and how a run goes on from it.

    recipe.json    everything that decides the run
    history.csv    a row an epoch
    curves.png     the same as a picture
    model.keras    the trained network, which takes raw images
    summary.json   the result; written last, so a folder without it is a run that did not end
    profile/       where the time of a step goes, of a run that was asked to tell
    probe/         the run before this one, of a run that fine-tunes: a folder like this
    checkpoints/   the last two, each one file: weights, optimizer, history, state; `epoch_0003_step_000120.keras` was
                   written in the midst of the fourth epoch

Every file is written whole or not at all, and one process at a time writes here: of a run of several processes the
chief. The others read, so that all must see the same folder.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import re
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from .. import saving
from .recipe import Recipe, as_json, with_later_fields

KEPT_CHECKPOINTS = 2
SECONDS_BETWEEN_PICTURES = 60
OTHER = "Choose another folder with --out."
# What may differ in recipes of one run: where the data lie, and `scaled_from`, which the learning rate of a resolved
# recipe holds already and older recipes do not keep.
UNDECIDED = ("data_dir", "scaled_from")


@dataclass
class Progress:
    """How far a run is, and what it must remember beyond the variables of its network and optimizer.

    Attributes:
        history: a row for each whole epoch.
        step: steps done in the epoch behind these.
        seconds: spent in these steps.
        metrics: what the metrics of that epoch have added up in these steps, in Keras's order; one list, or of several
            processes a list each, whose sum it is.
        state: of the controller of the learning rate.
    """

    history: list[dict[str, Any]] = field(default_factory=list)
    step: int = 0
    seconds: float = 0.0
    metrics: list[list[float]] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"epoch {len(self.history)}" + (f" and {self.step} steps" if self.step else "")


class RunFolder:
    """A run's folder.

    Args:
        path: the folder; it is made when something is written.
        writes: whether this process writes; what another one is told to write, it passes over.
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
        self._damaged: set[Path] = set()  # checkpoints that are none
        self._drawn = time.monotonic()

    def check(self, recipe: Recipe) -> None:
        """Makes sure that this recipe may write here.

        A run that has ended no epoch leaves nothing worth keeping, so any other may take its folder. What somebody has
        written by hand is worth keeping, and says less than a run's.

        Raises:
            ValueError: the path is no folder, holds something else than a run, a recipe that no run has written, or
                another run.
        """
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise ValueError(f"{str(self.path)!r} is a file, not a run folder. Choose another with --out.")
        visible = {path.name for path in self.path.iterdir() if not path.name.startswith(".")}
        if self.recipe.name not in visible:
            if visible:
                raise ValueError(
                    f"{str(self.path)!r} holds files but no recipe.json. Choose another folder with --out."
                )
            return
        there = saving.read_json(self.recipe, OTHER)
        begun = self.summary.exists() or self.newest_first()
        if not begun and as_json(recipe).keys() - with_later_fields(there).keys():
            raise ValueError(f"{str(self.recipe)!r} is no run's, and this one would write over it. {OTHER}")
        if begun and (changes := _changes(with_later_fields(there), as_json(recipe), but=UNDECIDED)):
            raise ValueError(f"{str(self.path)!r} holds another run: {changes}. Choose another folder with --out.")

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Makes the folder and holds it for this process, if it writes; a process that is killed holds nothing.

        Raises:
            FolderInUseError: another process holds it.
        """
        if not self.writes:
            yield
            return
        with saving.lock(self.path, "trains in"):
            yield

    def begin(self, recipe: Recipe) -> None:
        """Writes the recipe down, in a folder that is held.

        A process that does not write does not look at it either: the chief may be in the midst of writing.

        Raises:
            ValueError: another run has begun here since the folder was checked.
        """
        self._recipe, self._title = as_json(recipe), f"{recipe.title} on {recipe.dataset}"
        if not self.writes:
            return
        self.check(recipe)
        saving.write_json(self.recipe, self._recipe)
        for folder in (self.path, self.checkpoints):
            saving.remove_partial(folder)

    def begun(self) -> dict[str, Any]:
        """The resolved recipe of the run that has begun here; empty if none has.

        Raises:
            ValueError: it is damaged.
        """
        return saving.read_json(self.recipe, OTHER) if self.recipe.exists() else {}

    def finished(self) -> dict[str, Any] | None:
        """The summary of a run that ended, or None.

        Raises:
            ValueError: it is damaged.
        """
        return saving.read_json(self.summary, OTHER) if self.summary.exists() else None

    def write_checkpoint(self, model: keras.Model, seeds: Sequence[keras.Variable], progress: Progress) -> None:
        """Keeps everything that the run needs to go on from here; the arguments are those of `restore`."""
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
        """Takes a compiled model back to the newest whole checkpoint.

        Args:
            model: the model.
            seeds: the states of all that draws at random in training, see `seed_variables`.
            say: is told of a checkpoint that is passed over because it is damaged.

        Returns:
            How far the run was there; at its very beginning where there is no checkpoint yet.

        Raises:
            ValueError: the checkpoints are of another network, or none of them is whole.
        """
        problems = []
        for path in self.newest_first():
            try:
                progress = self._load(model, seeds, path)
            except Exception as error:  # whatever Keras stumbles over in a damaged or foreign file
                problems.append(f"{path.name}: {saving.first_line(error)}")
                self._damaged.add(path)
                continue
            for problem in problems:
                say(f"Passing over a damaged checkpoint. {problem}")
            return progress
        if problems:
            raise ValueError(
                f"No checkpoint in {str(self.checkpoints)!r} fits this run. {problems[0]} "
                "Choose another folder with --out, or delete this one to begin anew."
            )
        return Progress()

    def _load(self, model: keras.Model, seeds: Sequence[keras.Variable], path: Path) -> Progress:
        saving.verify(path)
        info = saving.read_info(path)
        if "history" not in info:
            raise ValueError("it is no checkpoint of a run")
        if changes := _changes(with_later_fields(info["recipe"]), self._recipe, but=UNDECIDED):
            raise ValueError(f"it is of another run: {changes}")
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "Skipping variable loading")  # of the optimizer
            model.load_weights(path)
        for variable, value in zip(seeds, info["seeds"], strict=True):
            variable.assign(np.asarray(value, dtype="uint32"))
        return Progress(**{entry.name: info[entry.name] for entry in dataclasses.fields(Progress)})

    def write_history(self, history: list[dict[str, Any]], *, last: bool = False) -> None:
        """Writes `history.csv`, and the picture of it at the last epoch or when the old one is a minute old."""
        if not self.writes:
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(history[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
        saving.write_text(self.history, text.getvalue())
        if last or time.monotonic() - self._drawn > SECONDS_BETWEEN_PICTURES:
            from .curves import draw_curves  # and matplotlib with it, which takes a second

            saving.write_atomically(self.curves, lambda path: draw_curves(history, path, self._title))
            self._drawn = time.monotonic()

    def write_result(self, model: keras.Model, info: dict[str, Any], summary: dict[str, Any]) -> None:
        """Writes the trained network, what is known of it, and the run's result."""
        if self.writes:
            saving.save(model, self.model, info)
            saving.write_json(self.summary, summary)

    def networks(self) -> list[Path]:
        """The files that hold its network: the trained one, if it is there, and the checkpoints, the newest first."""
        return [*([self.model] if self.model.exists() else []), *self.newest_first()]

    def newest_first(self) -> list[Path]:
        """The checkpoints."""
        return sorted(self.checkpoints.glob("epoch_*.keras"), key=_moment, reverse=True)


def _moment(checkpoint: Path) -> list[int]:
    """When a checkpoint was written: behind so many epochs, and perhaps steps of the next."""
    return [int(number) for number in re.findall(r"\d+", checkpoint.stem)]


def _changes(there: dict[str, Any], here: dict[str, Any], but: tuple[str, ...] = ()) -> str:
    """In what two recipes differ, in words."""
    words = []
    for name in sorted((here.keys() | there.keys()) - set(but)):
        old, new = there.get(name), here.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            words += [_changes(old, new)]
        elif old != new:
            words.append(f"{name} {old!r} there, {new!r} now")
    return ", ".join(filter(None, words))


def seed_variables(model: keras.Model) -> list[keras.Variable]:
    """The states of a model's random generators, which Keras does not save with the weights."""
    return [variable for variable in model.non_trainable_variables if "seed_generator" in variable.path]
