"""`Recipe`: everything that decides a training run, as data."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..models.catalog import find
from ..models.spec import Spec, option
from ..options import check_types

SCHEDULES = ("step", "cosine", "linear")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
DECAYED = ("all", "kernels")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a training run. The defaults are the CIFAR recipe of both papers.

    He et al. 2015, section 4.2: SGD with momentum 0.9, weight decay 1e-4, batches of 128, a learning rate of 0.1
    divided by 10 at 32k and 48k of 64k iterations; images padded by 4, cropped and mirrored.

    Raises:
        ValueError: a value out of its range; the message names what was received and what is accepted.
    """

    dataset: str
    data_dir: str | None = option(None, "where prepared tensorflow-datasets sets lie (else its own folder)")
    validation: int = option(0, "training images held out and tested on instead of the test set; the papers' 5000")
    model: str = option("resnet20", "the network, as `keras-resnet summary` names it")
    network: dict[str, Any] = dataclasses.field(default_factory=dict)  # the choices of `Spec` that differ
    epochs: int | None = option(None, "length of the run; the schedule scales with it (else as many as --iterations)")
    iterations: int | None = option(None, "length of the schedule in steps (else as many as --epochs); paper: 64000")
    batch_size: int = option(128, "images a step")
    learning_rate: float = option(0.1, "the highest learning rate")
    schedule: str = option("step", f"how it falls: {', '.join(SCHEDULES)}")
    drops: tuple[float, ...] = option((0.5, 0.75), "step: where it falls, as shares of the schedule")
    drop_factor: float = option(10.0, "step: by what it is divided there")
    rise: float = option(0.0, "share of the schedule in which it rises linearly from zero")
    warmup_rate: float | None = option(
        None,
        "learning rate until the training error is below --warmup-error (else 0.01 from 110 layers on, as in the "
        "papers; 0: none)",
    )
    warmup_error: float = option(0.8, "the training error that ends the warm-up")
    momentum: float = option(0.9, "SGD's momentum")
    nesterov: bool = option(False, "Nesterov's momentum")
    weight_decay: float = option(1e-4, "added to the gradient, times the weight")
    decayed: str = option("all", f"what decays: {', '.join(DECAYED)} (not batch norm, not biases)")
    label_smoothing: float = option(0.0, "share of the target spread over all classes")
    ema: float = option(0.0, "momentum of an average of the weights, which is what is tested and kept (0: none)")
    pad: int | None = option(None, "pixels of padding before the random crop (else the data set's)")
    flip: bool | None = option(None, "mirror half of the images (else the data set's)")
    cutout: int = option(0, "side in pixels of a square erased from each image")
    precision: str = option("float32", f"dtype policy: {', '.join(PRECISIONS)}")
    seed: int = option(0, "of the initial weights, the order of the images and their augmentation")

    def __post_init__(self) -> None:
        check_types(Recipe, vars(self))
        check_types(Spec, self.network)
        object.__setattr__(self, "drops", tuple(self.drops))
        for name, accepted in (("schedule", SCHEDULES), ("precision", PRECISIONS), ("decayed", DECAYED)):
            if getattr(self, name) not in accepted:
                raise ValueError(f"`{name}` must be one of {', '.join(accepted)}. Received: {getattr(self, name)!r}")
        for name in ("epochs", "iterations", "batch_size"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1. Received: {getattr(self, name)!r}")
        numbers = (
            "learning_rate",
            "weight_decay",
            "warmup_rate",
            "warmup_error",
            "validation",
            "pad",
            "cutout",
            "seed",
        )
        for name in numbers:
            if getattr(self, name) is not None and not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"`{name}` must be a number of at least 0. Received: {getattr(self, name)!r}")
        if self.seed >= 2**32:
            raise ValueError(f"`seed` must be below 2**32. Received: {self.seed!r}")
        if not self.drop_factor > 0:
            raise ValueError(f"`drop_factor` must be above 0. Received: {self.drop_factor!r}")
        for name in ("momentum", "label_smoothing", "ema", "rise"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 0 and below 1. Received: {getattr(self, name)!r}")
        find(self.model).respec(**self.network)  # raises for a network that does not exist

    @property
    def spec(self) -> Spec:
        """The network that is trained."""
        return find(self.model).respec(**self.network)

    def resolve(self, steps_per_epoch: int, *, pad: int, flip: bool) -> Recipe:
        """The recipe with every open question answered, which repeats the run wherever it is read.

        Args:
            steps_per_epoch: steps in one pass over the training images.
            pad: what the data set asks for where the recipe says nothing.
            flip: likewise.
        """
        spec = self.spec
        epochs, iterations = self.epochs, self.iterations
        if epochs is None:
            iterations = iterations or 64_000
            epochs = max(1, round(iterations / steps_per_epoch))
        warmup = self.warmup_rate
        if warmup is None:  # needed from depth 110 on, and not by the full pre-activation unit (2016, appendix)
            warmup = 0.01 if spec.depth >= 110 and spec.order != "full_preactivation" else 0.0
        return replace(
            self,
            network={name: value for name, value in vars(spec).items() if not name.startswith("stage_")},
            epochs=epochs,
            iterations=iterations or epochs * steps_per_epoch,
            warmup_rate=warmup,
            pad=pad if self.pad is None else self.pad,
            flip=flip if self.flip is None else self.flip,
        )

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0, without the warm-up that ends by the training error.

        Of a resolved recipe.
        """
        return scheduled_rate(self, step / self.iterations)


def scheduled_rate(recipe: Recipe, progress: float) -> float:
    """The learning rate after a share of the schedule."""
    if progress < recipe.rise:
        return recipe.learning_rate * progress / recipe.rise
    if recipe.schedule == "step":
        return recipe.learning_rate / recipe.drop_factor ** sum(progress >= drop for drop in recipe.drops)
    left = min(1.0, (progress - recipe.rise) / (1 - recipe.rise))
    shape = (1 + math.cos(math.pi * left)) / 2 if recipe.schedule == "cosine" else 1 - left
    return recipe.learning_rate * shape


# Named recipes: what differs from the defaults.
RECIPES: dict[str, dict[str, Any]] = {
    "paper": {"iterations": 64_000},
    "modern": {
        "epochs": 200,
        "schedule": "cosine",
        "rise": 0.025,
        "nesterov": True,
        "weight_decay": 5e-4,
        "decayed": "kernels",
        "label_smoothing": 0.1,
        "ema": 0.999,
    },
}

# What a data set changes in every named recipe.
FOR_DATASET: dict[str, dict[str, Any]] = {
    "digits": {"epochs": 60, "iterations": None, "batch_size": 32},
}


def recipe_for(name: str = "paper", **choices: Any) -> Recipe:
    """A recipe by name, or from a `recipe.json`, with some values changed.

    Args:
        name: a key of `RECIPES`, or the path of a JSON file.
        **choices: fields of `Recipe`; a `dataset` of None is the one that the file names. `epochs` without
            `iterations` scales the schedule, and the other way round. What a file says only because of its network,
            data set or batch size gives way where those are chosen anew.

    Raises:
        ValueError: no such recipe, a file that is none, an unknown field or value.
    """
    if choices.get("dataset") is None:
        choices.pop("dataset", None)
    check_types(Recipe, choices)
    if name in RECIPES:
        base = {**RECIPES[name], **FOR_DATASET.get(choices.get("dataset", ""), {})}
    elif name.endswith(".json"):
        base = _read(Path(name))
    else:
        near = difflib.get_close_matches(name, RECIPES, n=1) or list(RECIPES)
        raise ValueError(f"Unknown recipe {name!r}. Accepted: {', '.join(RECIPES)}, or a .json file; near: {near[0]}")
    if len({"epochs", "iterations"} & choices.keys()) == 1:
        base |= {"epochs": None, "iterations": None}
    changed = {name for name, value in choices.items() if value != base.get(name, value)}
    stale = {
        *(("network", "warmup_rate") if "model" in changed else ()),
        *(("pad", "flip") if "dataset" in changed else ()),
        *(("iterations",) if changed & {"dataset", "batch_size", "validation"} and base.get("epochs") else ()),
    }
    base = {name: value for name, value in base.items() if name not in stale}
    choices["network"] = {**base.get("network", {}), **choices.get("network", {})}
    merged = {**base, **choices}
    if "dataset" not in merged:
        raise ValueError("Name a data set, such as digits or cifar10.")
    return Recipe(**merged)


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{str(path)!r} is no recipe: {error}") from error
    try:
        if not isinstance(value, dict):
            raise ValueError("it is not a JSON object")
        check_types(Recipe, value)
        check_types(Spec, value.get("network", {}))
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is no recipe: {error}") from error
    return value


def as_json(recipe: Recipe) -> dict[str, Any]:
    """The recipe as JSON takes it; `Recipe(**as_json(recipe))` is the recipe again."""
    return json.loads(json.dumps(dataclasses.asdict(recipe)))
