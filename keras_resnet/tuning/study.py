"""What a search is: all that decides it, written down beside it."""

from __future__ import annotations

import csv
import json
import math
import shutil
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .. import saving
from ..data import load
from ..models.complexity import Complexity
from ..training.recipe import Recipe, as_json, with_later_fields
from ..training.recipes import recipe_for
from .candidates import Bounds, recipe_of
from .results import RESULT, TRIALS
from .space import Space, space

TUNERS = ("random", "grid", "hyperband", "bayesian")
FIDELITIES = ("epochs", "images", "size")
BUDGET = 9  # of a whole trial where Hyperband's budget is images or size: that many shares of them, not epochs
EXPONENT = 0.07  # of MnasNet (Tan et al. 2019, equation 2)
SETTLED = 0.25  # share of a trial behind which it can be hopeless
FILE = "search.json"


@dataclass(frozen=True)
class Study:
    """All that decides a search.

    Attributes:
        base: the recipe that all trials have in common; `epochs` are those of a whole trial.
        space: what is searched.
        bounds: what a candidate may cost.
        tuner: one of `TUNERS`.
        max_trials: how many trials at most; None for as many as the tuner wants.
        seed: of the search.
        fidelity: what Hyperband makes smaller: one of `FIDELITIES`.
        target_macs, target_latency: multiply-adds of an image, or milliseconds, beyond which a network is judged as
            worse than its error.
        stop_early: whether hopeless trials are stopped.
    """

    base: Recipe
    space: Space
    bounds: Bounds
    tuner: str = "hyperband"
    max_trials: int | None = 20
    seed: int = 0
    fidelity: str = "epochs"
    target_macs: float | None = None
    target_latency: float | None = None
    stop_early: bool = True

    def __post_init__(self) -> None:
        for name, accepted in (("tuner", TUNERS), ("fidelity", FIDELITIES)):
            if getattr(self, name) not in accepted:
                raise ValueError(f"`{name}` must be one of {', '.join(accepted)}. Received: {getattr(self, name)!r}")
        if self.fidelity == "size" and self.base.size is None:
            raise ValueError(f"Images of {self.base.dataset} have one size. Choose --fidelity epochs, or images.")
        if self.target_macs is not None and self.target_latency is not None:
            raise ValueError("A search has one target: --target-macs or --target-latency.")
        if self.tuner == "random" and self.max_trials is None:
            raise ValueError("A random search needs --max-trials; it would never end.")

    @property
    def budget(self) -> int:
        """Hyperband's budget of a whole trial: in epochs, or in shares of the images or of their size."""
        return self.base.epochs if self.fidelity == "epochs" else BUDGET

    def recipe(self, values: Mapping[str, Any], budget: int | None = None) -> Recipe:
        """What a trial trains.

        Args:
            values: of the dimensions.
            budget: what Hyperband gives it; None for a whole trial. The schedule is that of the shorter run, and every
                trial begins anew: a network that was trained on a falling rate is not gone on with on a high one.
        """
        recipe = recipe_of(self.base, values)
        if budget is None or budget >= self.budget:
            return recipe
        share = budget / self.budget
        if self.fidelity == "epochs":
            return replace(recipe, epochs=budget)
        if self.fidelity == "images":
            images = max(recipe.batch_size, round(share * self.base.images))
            return replace(recipe, images=min(self.base.images, images))
        size = min(self.base.size, max(64, 32 * round(math.sqrt(share) * self.base.size / 32)))
        tested = {
            name: round(side * size / self.base.size)
            for name in ("test_size", "test_resize")
            if (side := getattr(recipe, name))
        }
        return replace(recipe, size=size, first_size=recipe.first_size and min(recipe.first_size, size), **tested)

    def score(self, error: float, cost: Complexity, latency: float | None = None) -> float:
        """What is made smallest: the error, and beyond the target more of it, by MnasNet's rule (Tan et al. 2019).

        Args:
            error: in percent.
            cost: of the network.
            latency: milliseconds an image, as measured; None if it was not.
        """
        pairs = ((cost.macs, self.target_macs), (latency, self.target_latency))
        beyond = max((spent / target for spent, target in pairs if spent and target), default=0.0)
        return error * max(1.0, beyond) ** EXPONENT

    def as_json(self) -> dict[str, Any]:
        """What two calls must have in common to be one search; the number of trials may grow."""
        told = {
            name: value for name, value in vars(self).items() if name not in ("base", "space", "bounds", "max_trials")
        }
        bounds = {name: value for name, value in asdict(self.bounds).items() if name in ("parameters", "macs")}
        recipe = {name: value for name, value in as_json(self.base).items() if name != "data_dir"}
        return {**told, "space": self.space.as_json(), "bounds": bounds, "base": recipe}

    @property
    def first_whole(self) -> int:
        """The number of the first trial that is whole, where one comes behind the other: 1 but for Hyperband."""
        if self.tuner != "hyperband":
            return 1
        from .oracles import first_whole  # of keras-tuner, which imports Keras

        return first_whole(self.budget)

    def check(self, folder: Path, strict: bool = False) -> None:
        """Refuses a folder of another search. One that no trial has left anything in, any search may take.

        Args:
            folder: of the search.
            strict: refuses that as well.

        Raises:
            ValueError: it holds another search, or something else.
        """
        if folder.is_dir() and not (folder / FILE).is_file():
            if any(not path.name.startswith(".") for path in folder.iterdir()):
                raise ValueError(f"{str(folder)!r} holds something else than a search. Choose another --out.")
            return
        if (changed := self._changed(folder)) and (strict or _begun(folder)):
            raise ValueError(
                f"{str(folder)!r} holds another search: its {', '.join(changed)} differ. Choose another --out, or "
                "say what it was begun with."
            )

    def begin(self, folder: Path) -> None:
        """Writes down what this search is, in a folder that is held.

        Raises:
            ValueError: it holds another search, or something else.
        """
        self.check(folder)
        if self._changed(folder) and (folder / TRIALS).is_dir():
            shutil.rmtree(folder / TRIALS)  # of another search, which came to nothing
        saving.write_json(folder / FILE, self.as_json())

    def _changed(self, folder: Path) -> list[str]:
        """In what a search that is there differs; empty where none is."""
        if not (folder / FILE).is_file():
            return []
        told, there = json.loads(json.dumps(self.as_json())), saving.read_json(folder / FILE, "Choose another --out.")
        there["base"] = with_later_fields(there.get("base", {}))
        return [name for name in {**told, **there} if told.get(name) != there.get(name)]


def _begun(folder: Path) -> bool:
    """Whether a trial has left something worth keeping."""
    trials = folder / TRIALS
    return any(trials.glob(f"trial_*/{RESULT}")) or any(trials.glob("trial_*/run/checkpoints/*.keras"))


def study_of(
    dataset: str,
    *,
    recipe: str | None = None,
    space_name: str = "all",
    without: Iterable[str] = (),
    changes: Mapping[str, str] | None = None,
    epochs: int = 10,
    validation: int | None = None,
    images: int | None = None,
    data_dir: str | None = None,
    max_parameters: int | None = None,
    max_macs: int | None = None,
    **choices: Any,
) -> Study:
    """A search on a data set.

    Args:
        dataset: as `keras_resnet.data.load` takes it.
        recipe: what trials have in common: the name of a recipe, or a file.
        space_name, without, changes: as `space` takes them.
        epochs: of a whole trial.
        validation: training images that are held out, and by which trials are judged; None for a tenth.
        images: training images, drawn at random; None for all.
        data_dir: where prepared data sets lie.
        max_parameters, max_macs: what a candidate may cost.
        **choices: of `Study`; without `max_trials`, its default, or more if it takes more until a trial is whole.

    Raises:
        ValueError: a choice that does not exist, or data that are not there.
    """
    data = load(dataset, data_dir)
    validation = data.train_count // 10 if validation is None else validation
    if not 0 <= validation < data.train_count:
        raise ValueError(
            f"`validation` must leave some of the {data.train_count} training images of {dataset}. "
            f"Received: {validation}"
        )
    images = min(images or data.train_count, data.train_count - validation)
    where = {"data_dir": data_dir} if data_dir else {}
    base = recipe_for(recipe, dataset=dataset, epochs=epochs, validation=validation, images=images, **where)
    if not data.in_memory and base.size is None:
        base = replace(base, size=data.defaults()["size"])
    bounds = Bounds(base, data.classes, tuple(data.image_shape(base.size)), max_parameters, max_macs)
    rows = space(space_name, photographs=not data.in_memory, without=without, changes=changes)
    study = Study(base, rows, bounds, **choices)
    if "max_trials" in choices:
        return study
    return replace(study, max_trials=max(study.max_trials, study.first_whole))


def hopeless(own: Path, others: Sequence[Path], column: str, epochs: int) -> bool:
    """Whether a trial is worse than most were at this time: the median rule (Golovin et al. 2017, section 3.2.2).

    Args:
        own: its `history.csv`.
        others: those of trials that are as long.
        column: of the error.
        epochs: of the whole trial.
    """
    errors = _errors(own, column)
    done = len(errors)
    if done < max(1, SETTLED * epochs) or done >= epochs:
        return False
    averages = [statistics.mean(seen[:done]) for path in others if len(seen := _errors(path, column)) >= done]
    return len(averages) >= 3 and min(errors) > statistics.median(averages)


def _errors(history: Path, column: str) -> list[float]:
    if not history.is_file():
        return []
    with history.open(encoding="utf-8", newline="") as file:
        return [float(row[column]) for row in csv.DictReader(file)]
