"""Named recipes, each a row of the fields that differ from the defaults of `Recipe`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

from ..data import default_sizes, is_registered
from ..models.catalog import find
from ..models.spec import Spec, with_later_choices
from ..options import check_types, suggestion
from ..saving import model_file, read_info
from .recipe import VIEWS, Recipe
from .schedule import PAPERS_ITERATIONS, warmup_rate

# A linear probe, then the entire network at a lower rate, so that the untrained dense layer does not distort the
# pretrained features (Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features").
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

# Recipes for images in memory.
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
    # A high rate that rises and falls once (Smith & Topin 2017, "Super-Convergence"); rate, batch size, decay, cutout
    # and label smoothing are those of Page 2018, "How to Train Your ResNet". In a short run, few wide layers learn more
    # than many narrow ones, and kernels learn more with Muon than with SGD.
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

# Recipes for photographs, which are read as needed; "paper" is that of 2016, whose schedule is fixed in advance.
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

# Fields of a network that belong to its training, so that a named recipe sets them for any network, except for plain
# nets, whose signal they would block.
INITIALIZATION = ("zero_init_residual",)

# Changes to every named recipe, by data set.
FOR_DATASET: dict[str, dict[str, Any]] = {
    "digits": {"epochs": 60, "iterations": None, "batch_size": 32, "cutout": None},
}


def recipe_for(name: str | None = None, *, run: str | Path | None = None, **choices: Any) -> Recipe:
    """Returns a named recipe, or one from a `recipe.json`, with some fields changed.

    Args:
        name: a key of `RECIPES`, or of `STREAM_RECIPES` if the data set is a stream; or the path of a JSON file.
            None means "finetune" if there are `weights`, and "paper" otherwise.
        run: the folder of the run, if it may have begun before: its recipe names the network if the `weights` are no
            longer available.
        **choices: fields of `Recipe`; if `dataset` is None or absent, the one in the file is used. `epochs` without
            `iterations` scales the schedule, and vice versa. Fields that follow from the network, weights, data set
            or batch size of the recipe are dropped if those are changed, see `stale`.

    Raises:
        ValueError: there is no such recipe, the file holds none, a field or value is unknown, or a choice of the
            probe is given and there is no probe.
    """
    if choices.get("dataset") is None:
        choices.pop("dataset", None)
    if misplaced := [field for field in choices if field in Spec.__dataclass_fields__]:
        raise ValueError(
            f"`{misplaced[0]}` is a choice of the network. Pass it in `network`, as in "
            f"network={{{misplaced[0]!r}: {choices[misplaced[0]]!r}}}."
        )
    check_types(Recipe, choices)
    name = name or ("finetune" if choices.get("weights") else "paper")
    if "model" not in choices and (model := _model_of(choices.get("weights"), run)):
        choices["model"] = model
    saved = _read(Path(name)) if name.endswith(".json") else None
    if "dataset" not in {**(saved or {}), **choices}:
        raise ValueError("Name a data set, such as digits or cifar10.")
    base = _named(name, choices["dataset"]) if saved is None else saved
    if len({"epochs", "iterations"} & choices.keys()) == 1:
        base |= {"epochs": None, "iterations": None}
    changed = {name for name, value in choices.items() if value != base.get(name, value)}
    initialization = {field: value for field, value in base.get("network", {}).items() if field in INITIALIZATION}
    dropped = stale(base, choices, changed)
    base = {name: value for name, value in base.items() if name not in dropped}
    unit = choices.get("network", {}).get("unit")
    if "model" in changed and saved is None and find(choices["model"], unit).spec.shortcut:
        base["network"] = initialization
    choices["network"] = {**base.get("network", {}), **choices.get("network", {})}
    recipe = Recipe(**{**base, **choices})
    for field, needed in (("probe_epochs", "freeze_until"), ("probe_rate", "probe_epochs")):
        if choices.get(field) is not None and getattr(recipe, needed) is None:
            raise ValueError(
                f"`{field}` needs `{needed}`, without which there is no probe. Received: {choices[field]!r}"
            )
    return recipe


def stale(base: Mapping[str, Any], choices: Mapping[str, Any], changed: Set[str]) -> set[str]:
    """Returns the fields of a recipe that are no longer valid, because they follow from fields that are changed.

    Args:
        base: the recipe's fields.
        choices: the fields that replace those of `base`.
        changed: the names in `choices` whose values differ from those of `base`.
    """
    names: set[str] = set()
    if "model" in changed:
        names |= {"network", "warmup_rate"}
    elif "warmup_rate" in base and choices.get("network"):
        network = base.get("network", {})
        new_network = {**network, **choices["network"]}
        respec = find(base.get("model", Recipe.model), new_network.get("unit")).respec
        if warmup_rate(respec(**network)) != warmup_rate(respec(**new_network)):
            names |= {"warmup_rate"}
    if "dataset" in changed and not all(map(_is_stream, (base.get("dataset"), choices["dataset"]))):
        names |= {"mean", *VIEWS}  # all photographs have the same ones
    if "weights" in changed:
        names |= {"mean"}
    if changed & {"size", "test_size"}:
        names |= _derived_from_size(base, choices.get("size"))
    if changed & {"dataset", "batch_size", "validation", "images"} and base.get("epochs"):
        names |= {"iterations"}
    return names


def _is_stream(dataset: str | None) -> bool:
    return dataset is not None and not is_registered(dataset)


def _derived_from_size(base: Mapping[str, Any], new_size: int | None) -> set[str]:
    """Returns the fields of a recipe for photographs that follow from its size, or are not possible with a new one."""
    size = base.get("size")
    if size is None:
        return set()
    derived = {**default_sizes(size, base.get("test_size")), "test_size": size}
    values = {**base, "scales": tuple(base.get("scales") or ())}  # JSON has lists
    names = {name for name, value in derived.items() if values.get(name) == value}
    return names | ({"first_size"} if (base.get("first_size") or 0) > (new_size or size) else set())


def _model_of(weights: str | None, run: str | Path | None) -> str | None:
    """Returns the model named by a `.keras` file or run folder of this package, else by the run that began with it."""
    if weights is None:
        return None
    path = model_file(weights)
    if path.is_file():
        return read_info(path).get("model") if path.suffix == ".keras" else None
    recipe_file = Path(run) / "recipe.json" if run else None
    recipe = _read(recipe_file) if recipe_file and recipe_file.is_file() else {}
    return recipe.get("model") if recipe.get("weights") == weights else None


def _named(name: str, dataset: str) -> dict[str, Any]:
    rows = RECIPES if is_registered(dataset) else STREAM_RECIPES
    if name not in rows:
        accepted = f"{', '.join(rows)}, or a .json file"
        raise ValueError(f"Unknown recipe {name!r} for {dataset}. Accepted: {accepted}{suggestion(name, rows)}")
    return {**rows[name], **FOR_DATASET.get(dataset, {})}


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise ValueError("it is not a JSON object")
        check_types(Recipe, value)
        check_types(Spec, value.get("network", {}))
    except (OSError, ValueError) as error:
        raise ValueError(f"{str(path)!r} is not a recipe: {error}") from error
    return {**value, "network": with_later_choices(value.get("network", {}))}
