"""The recipes by name, as rows of what differs from the defaults of `Recipe`."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

from ..data import default_sizes, is_registered
from ..models.catalog import find
from ..models.spec import Spec, with_later_fields
from ..options import check_types
from ..saving import model_file, read_info
from .recipe import VIEWS, Recipe
from .schedule import PAPERS_ITERATIONS, warmup_rate

# A linear probe, then all of the network at a lower rate, so that a dense layer that knows nothing yet does not spoil
# features that are good (Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features").
_FINETUNE = {
    "freeze_until": "features",
    "probe_epochs": 5,
    "probe_rate": 0.1,
    "epochs": 15,
    "learning_rate": 0.01,
    "schedule": "cosine",
    "nesterov": True,
    "decayed": "kernels",
}

# Named recipes for images that lie in memory: what differs from the defaults.
RECIPES: dict[str, dict[str, Any]] = {
    "paper": {"iterations": PAPERS_ITERATIONS},
    # "For all CIFAR experiments we warm up the training by using a smaller learning rate of 0.01 at the beginning 400
    # iterations" (2016, appendix).
    "paper2016": {"iterations": PAPERS_ITERATIONS, "warmup_iterations": 400},
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
    # A high rate that rises and falls once (Smith & Topin 2017, "Super-Convergence"); rate, batch, decay, cutout and
    # label smoothing are those of Page 2018, "How to Train Your ResNet". In a short run few wide layers learn more than
    # many narrow ones, and kernels more by Muon than by SGD.
    "speedrun": {
        "model": "resnet18",
        "network": {"stem": "cifar", "stage_units": (1, 1, 1, 1), "downsample": "max_pool"},
        "epochs": 16,
        "batch_size": 512,
        "scaled_from": 512,
        "optimizer": "muon",
        "learning_rate": 0.4,
        "schedule": "linear",
        "rise": 0.2,
        "nesterov": True,
        "weight_decay": 5e-4,
        "decayed": "kernels",
        "label_smoothing": 0.2,
        "cutout": 8,
        "precision": "mixed_bfloat16",
    },
    "finetune": {**_FINETUNE, "batch_size": 128},
}

# Those for photographs that are read as they are needed; "paper" is that of 2016, whose schedule is known beforehand.
_IMAGENET = {"model": "resnet50", "batch_size": 256, "color": "pca"}
_PAPER2016 = {**_IMAGENET, "epochs": 90, "drops": (1 / 3, 2 / 3)}
STREAM_RECIPES: dict[str, dict[str, Any]] = {
    "paper": _PAPER2016,
    "paper2015": {**_IMAGENET, "iterations": 600_000, "schedule": "plateau"},
    "paper2016": _PAPER2016,
    "modern": {
        **_IMAGENET,
        "network": {"zero_init_residual": True},
        "epochs": 90,
        "scaled_from": 256,
        "schedule": "cosine",
        "rise": 1 / 18,  # five epochs
        "nesterov": True,
        "decayed": "kernels",
        "label_smoothing": 0.1,
        "ema": 0.999,
        "crop": "aspect_ratio",
        "randaugment": 6.0,
        "mixup": 0.1,
        "cutmix": 1.0,
        "first_size": 128,
        "size": 192,
        "test_size": 256,
    },
    "finetune": {**_FINETUNE, "model": "resnet50", "batch_size": 32, "crop": "aspect_ratio"},
}

# Choices of a network that belong to how it is trained, so that a named recipe has them for any, but a plain net, whose
# signal they would stop.
BEGINNING = ("zero_init_residual",)

# What a data set changes in every named recipe.
FOR_DATASET: dict[str, dict[str, Any]] = {
    "digits": {"epochs": 60, "iterations": None, "batch_size": 32, "cutout": None},
}


def recipe_for(name: str | None = None, *, run: str | Path | None = None, **choices: Any) -> Recipe:
    """A recipe by name, or from a `recipe.json`, with some values changed.

    Args:
        name: a key of `RECIPES`, or of `STREAM_RECIPES` where the data set is a stream; or the path of a JSON file.
            None for "finetune" where there are `weights`, and for "paper" otherwise.
        run: the folder of a run that perhaps has begun, which knows the network of its weights where those are no
            longer there.
        **choices: fields of `Recipe`; a `dataset` of None is the one that the file names. `epochs` without
            `iterations` scales the schedule, and the other way round. What a recipe says only because of its
            network, weights, data set or batch size gives way where those are chosen anew.

    Raises:
        ValueError: no such recipe, a file that is none, an unknown field or value.
    """
    if choices.get("dataset") is None:
        choices.pop("dataset", None)
    check_types(Recipe, choices)
    name = name or ("finetune" if choices.get("weights") else "paper")
    if "model" not in choices and (named := _model_of(choices.get("weights"), run)):
        choices["model"] = named
    file = _read(Path(name)) if name.endswith(".json") else None
    if "dataset" not in {**(file or {}), **choices}:
        raise ValueError("Name a data set, such as digits or cifar10.")
    base = _named(name, choices["dataset"]) if file is None else file
    if len({"epochs", "iterations"} & choices.keys()) == 1:
        base |= {"epochs": None, "iterations": None}
    changed = {name for name, value in choices.items() if value != base.get(name, value)}
    kept = {choice: value for choice, value in base.get("network", {}).items() if choice in BEGINNING}
    given_up = stale(base, choices, changed)
    base = {name: value for name, value in base.items() if name not in given_up}
    unit = choices.get("network", {}).get("unit")
    if "model" in changed and not name.endswith(".json") and find(choices["model"], unit).spec.shortcut:
        base["network"] = kept
    choices["network"] = {**base.get("network", {}), **choices.get("network", {})}
    return Recipe(**{**base, **choices})


def stale(base: Mapping[str, Any], choices: Mapping[str, Any], changed: Set[str]) -> set[str]:
    """What a recipe says only because of what is chosen anew."""
    found: set[str] = set()
    if "model" in changed:
        found |= {"network", "warmup_rate"}
    elif "warmup_rate" in base and choices.get("network"):
        own = base.get("network", {})
        respec = find(base.get("model", Recipe.model), {**own, **choices["network"]}.get("unit")).respec
        if warmup_rate(respec(**own)) != warmup_rate(respec(**{**own, **choices["network"]})):
            found |= {"warmup_rate"}
    if "dataset" in changed:
        found |= {"mean", *VIEWS}
    if "weights" in changed:
        found |= {"mean"}
    if changed & {"size", "test_size"}:
        found |= _of_size(base, choices.get("size"))
    if changed & {"dataset", "batch_size", "validation", "images"} and base.get("epochs"):
        found |= {"iterations"}
    return found


def _of_size(base: Mapping[str, Any], size: int | None) -> set[str]:
    """What a recipe for photographs says only because of its size, or cannot say of a new one."""
    own = base.get("size")
    if own is None:
        return set()
    derived = {**default_sizes(own, base.get("test_size")), "test_size": own}
    said = {**base, "scales": tuple(base.get("scales") or ())}  # JSON has lists
    found = {name for name, value in derived.items() if said.get(name) == value}
    return found | ({"first_size"} if (base.get("first_size") or 0) > (size or own) else set())


def _model_of(weights: str | None, run: str | Path | None) -> str | None:
    """The network that weights name, if they are a file of this package or the folder of a run; or that `run` does."""
    if weights is None:
        return None
    path = model_file(weights)
    if path.is_file():
        return read_info(path).get("model") if path.suffix == ".keras" else None
    begun = Path(run) / "recipe.json" if run else None
    there = _read(begun) if begun and begun.is_file() else {}
    return there.get("model") if there.get("weights") == weights else None


def _named(name: str, dataset: str) -> dict[str, Any]:
    rows = RECIPES if is_registered(dataset) else STREAM_RECIPES
    if name not in rows:
        near = difflib.get_close_matches(name, rows, n=1) or list(rows)
        raise ValueError(
            f"Unknown recipe {name!r} for {dataset}. Accepted: {', '.join(rows)}, or a .json file; near: {near[0]}"
        )
    return {**rows[name], **FOR_DATASET.get(dataset, {})}


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
    return {**value, "network": with_later_fields(value.get("network", {}))}
