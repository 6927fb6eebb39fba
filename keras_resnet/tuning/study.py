"""`Study`: everything that decides a search, saved in its folder as `search.json`."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..data import load
from ..files import read_json, write_json
from ..models.complexity import Complexity
from ..training.identity import same_folder
from ..training.recipe import Recipe, as_json, with_later_fields
from ..training.recipes import recipe_for
from .candidates import Bounds, recipe_of
from .dimensions import SPEC_FIELDS, UNITS_PER_STAGE
from .results import RESULT, TRIALS
from .space import Space, space

TUNERS = ("random", "grid", "hyperband", "bayesian")
FIDELITIES = ("epochs", "images", "size")
MAX_TRIALS = 20  # unless more are needed until the first trial of the full budget
BUDGET = 9  # Hyperband's full budget where it is images or size, which are then divided into this many shares
EXPONENT = 0.07  # MnasNet's weight of the cost (Tan et al. 2019, equation 2)
FILE = "search.json"


@dataclass(frozen=True)
class Study:
    """Everything that decides a search.

    Attributes:
        base: the recipe that all trials have in common; its `epochs` are those of a trial of the full budget.
        space: the search space.
        bounds: limits on the cost of a candidate.
        tuner: one of `TUNERS`.
        max_trials: maximum number of trials; None for as many as the tuner proposes.
        seed: seed of the search.
        fidelity: what Hyperband reduces in short trials: one of `FIDELITIES`.
        target_macs, target_latency: multiply-adds per image, or milliseconds per image, beyond which the score of a
            network is worse than its error.
        stop_early: whether hopeless trials are stopped.

    Raises:
        ValueError: a choice does not exist or contradicts another.
    """

    base: Recipe
    space: Space
    bounds: Bounds
    tuner: str = "hyperband"
    max_trials: int | None = MAX_TRIALS
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
            raise ValueError(f"Images of {self.base.dataset} all have one size. Choose --fidelity epochs or images.")
        if self.target_macs is not None and self.target_latency is not None:
            raise ValueError("A search must have only one target: --target-macs or --target-latency.")
        if self.tuner == "random" and self.max_trials is None:
            raise ValueError("A random search needs --max-trials; without it, it would never end.")

    @property
    def budget(self) -> int:
        """Hyperband's full budget: in epochs, or in shares of the training images or of the image size."""
        return self.full if self.fidelity == "epochs" else BUDGET

    @property
    def full(self) -> int:
        """The epochs, training images or image size of a trial of the full budget, whichever short trials reduce."""
        return getattr(self.base, self.fidelity)

    def recipe(self, values: Mapping[str, Any], budget: int | None = None) -> Recipe:
        """Returns the recipe of a trial.

        Args:
            values: values of the dimensions.
            budget: Hyperband's budget of the trial; None for the full budget. A short trial has the schedule of its
                own length, and a longer one trains from scratch: a network whose learning rate has already decayed
                is not trained further at a high one.
        """
        recipe = recipe_of(self.base, values)
        if budget is None or budget >= self.budget:
            return recipe
        share = budget / self.budget
        if self.fidelity == "epochs":
            return replace(recipe, epochs=budget)
        if self.fidelity == "images":
            return replace(recipe, images=min(self.full, max(recipe.batch_size, round(share * self.full))))
        size = min(self.full, max(64, 32 * round(math.sqrt(share) * self.full / 32)))
        test_sizes = {
            name: round(side * size / self.full)
            for name in ("test_size", "test_resize")
            if (side := getattr(recipe, name))
        }
        return replace(recipe, size=size, first_size=recipe.first_size and min(recipe.first_size, size), **test_sizes)

    def score(self, error: float, cost: Complexity, latency: float | None = None) -> float:
        """Returns the score, which is minimised: the error, increased beyond the target (Tan et al. 2019, equation 2).

        Args:
            error: in percent.
            cost: cost of the network.
            latency: measured milliseconds per image; None if it was not measured.
        """
        pairs = ((cost.macs, self.target_macs), (latency, self.target_latency))
        ratio = max((spent / target for spent, target in pairs if spent and target), default=0.0)
        return error * max(1.0, ratio) ** EXPONENT

    def as_json(self) -> dict[str, Any]:
        """Returns what must be equal for a search to be resumed; the number of trials may grow."""
        choices = {
            name: value for name, value in vars(self).items() if name not in ("base", "space", "bounds", "max_trials")
        }
        bounds = {name: value for name, value in asdict(self.bounds).items() if name in ("parameters", "macs")}
        recipe = {name: value for name, value in as_json(self.base).items() if name != "data_dir"}
        return {**choices, "space": self.space.as_json(), "bounds": bounds, "base": recipe}

    @property
    def first_full_trial(self) -> int:
        """Number of the first trial of the full budget, when trials run one after another; 1 except for Hyperband."""
        if self.tuner != "hyperband":
            return 1
        from .oracles import first_full_trial  # imports keras-tuner and with it Keras

        return first_full_trial(self.budget, self.space, self.bounds)

    def check(self, folder: Path, strict: bool = False) -> None:
        """Checks that the folder may be used: that it is new, empty, or contains this search or one without results.

        Args:
            folder: folder of the search.
            strict: whether to refuse every other search, even one without results or checkpoints.

        Raises:
            ValueError: it contains another search, or something else.
        """
        if folder.is_dir() and not (folder / FILE).is_file():
            if any(not path.name.startswith(".") for path in folder.iterdir()):
                raise ValueError(f"{str(folder)!r} contains something other than a search. Choose another --out.")
            return
        if (changed := self._changed(folder)) and (strict or _has_progress(folder)):
            raise ValueError(
                f"{str(folder)!r} contains another search, which differs in: {', '.join(changed)}. Choose another "
                "--out, or give the options with which it was started."
            )

    def begin(self, folder: Path) -> None:
        """Writes `search.json` into a folder, which the caller must have locked.

        Raises:
            ValueError: it contains another search, or something else.
        """
        self.check(folder)
        if self._changed(folder) and (folder / TRIALS).is_dir():
            shutil.rmtree(folder / TRIALS)  # left by another search, which has no results
        write_json(folder / FILE, self.as_json())

    def _changed(self, folder: Path) -> list[str]:
        """Returns the names of what differs in a saved search, such as "epochs"; empty if the folder contains none."""
        if not (folder / FILE).is_file():
            return []
        own, saved = json.loads(json.dumps(self.as_json())), read_json(folder / FILE, "Choose another --out.")
        saved["base"] = with_later_fields(saved.get("base", {}))
        if same_folder(saved["base"].get("dataset"), own["base"]["dataset"]):
            saved["base"]["dataset"] = own["base"]["dataset"]
        return _differences(own, saved)


def _differences(own: Mapping[str, Any], saved: Mapping[str, Any]) -> list[str]:
    """Returns the names of the values that differ between two files `search.json`, those of the recipe by their own."""
    names = []
    for name in {**own, **saved}:
        one, other = own.get(name), saved.get(name)
        if one == other:
            continue
        if not (isinstance(one, Mapping) and isinstance(other, Mapping)):
            names.append(name)
        elif name == "base":
            names += _differences(one, other)
        else:
            names += [f"{inner} ({name})" for inner in _differences(one, other)]
    return names


def _has_progress(folder: Path) -> bool:
    """Returns whether any trial has left a result or a checkpoint."""
    trials = folder / TRIALS
    return any(trials.glob(f"trial_*/{RESULT}")) or any(trials.glob("trial_*/run/checkpoints/*.keras"))


def create_study(
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
    """Returns the study of a search on a data set.

    Args:
        dataset: name of the data set, as in `keras_resnet.data.load`.
        recipe: recipe that trials have in common: its name or file.
        space_name, without, changes: as `name`, `without` and `changes` of `space`.
        epochs: epochs of a trial of the full budget.
        validation: number of training images held out, whose error trials are judged by; None for a tenth.
        images: number of training images, drawn at random from those that are not held out; None for all of these.
        data_dir: folder of prepared data sets.
        max_parameters, max_macs: upper bounds on the cost of a candidate.
        **choices: further fields of `Study`. The default of `max_trials` is raised, if necessary, to include the first
            trial of the full budget.

    Raises:
        ValueError: a choice does not exist or the data are not available.
    """
    data = load(dataset, data_dir)
    validation = data.train_count // 10 if validation is None else validation
    if not 0 <= validation < data.train_count:
        raise ValueError(
            f"`validation` must be at least 0 and below {data.train_count}, the number of training images of "
            f"{dataset}. Received: {validation}"
        )
    available = data.train_count - validation
    if images is not None and not 1 <= images <= available:
        raise ValueError(
            f"`images` must be at least 1 and at most {available}, the number of training images of {dataset} that are "
            f"not held out. Received: {images}"
        )
    images = available if images is None else images
    folder = {"data_dir": data_dir} if data_dir else {}
    base = recipe_for(recipe, dataset=dataset, epochs=epochs, validation=validation, images=images, **folder)
    if not data.in_memory and base.size is None:
        base = replace(base, size=data.defaults()["size"])
    bounds = Bounds(base, data.classes, data.image_shape(base.size), max_parameters, max_macs)
    rows = space(space_name, photographs=not data.in_memory, without=without, changes=changes)
    if base.weights is not None:
        _check_weights(base.weights, rows)
    study = Study(base, rows, bounds, **choices)
    if "max_trials" in choices:
        return study
    return replace(study, max_trials=max(MAX_TRIALS, study.first_full_trial))


def _check_weights(weights: str, rows: Space) -> None:
    """Raises ValueError if a space changes the network, which initial weights determine."""
    from ..weights.pretrained import TRAINING_ONLY  # imports Keras

    changing = {"model", UNITS_PER_STAGE} | SPEC_FIELDS - set(TRAINING_ONLY)
    if names := [row.name for row in rows.dimensions if row.name in changing and not row.fixed]:
        raise ValueError(
            f"The recipe begins with the weights of {weights!r}, which determine {', '.join(names)}. Choose --space "
            "recipe, or fix these dimensions or leave them out."
        )
