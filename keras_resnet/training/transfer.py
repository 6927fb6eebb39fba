"""Fine-tuning of pretrained weights: a linear probe, then the entire network at a lower rate."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import numpy as np

from ..data import LabelledImages
from ..models.spec import as_choices
from ..weights import Pretrained, read
from .folder import RunFolder
from .recipe import Recipe

PROBE = "probe"  # folder of the probe, within that of the run


def read_weights(recipe: Recipe, folder: RunFolder) -> Pretrained | None:
    """Reads the initial weights of a run, for images in RGB; None if the recipe names none.

    Args:
        recipe: the recipe of the run.
        folder: the folder of the run. If the run has begun and the weights are no longer available, those of its own
            networks are read instead.

    Raises:
        ValueError: the weights do not exist or belong to another network.
    """
    if recipe.weights is None:
        return None
    architecture, choices = recipe.architecture, recipe.network
    spec = architecture.respec(**choices)
    try:
        weights = read(recipe.weights, spec, choices, name=recipe.model)
    except ValueError:
        begun = _from_begun_run(recipe, folder)
        if begun is None:
            raise
        weights = begun
    weights.spec_for(architecture.respec, choices)
    return weights.for_rgb()


def _from_begun_run(recipe: Recipe, folder: RunFolder) -> Pretrained | None:
    """Returns the newest intact network of a run or its probe, if the run began with the weights of the recipe."""
    saved = folder.saved_recipe()
    if saved.get("weights") != recipe.weights:
        return None
    view = {"size": saved["size"], "resize": saved["test_resize"]} if saved.get("size") else {}
    for path in (*folder.networks(), *RunFolder(folder.path / PROBE).networks()):
        with contextlib.suppress(ValueError):
            return replace(read(path, recipe.spec), layout=as_choices(saved.get("network", {})), view=view)
    return None


def matches_classes(weights: Pretrained, data: LabelledImages) -> bool:
    """Returns whether weights are for the same classes as a data set, so that their dense layer can be used.

    Classes are compared by identifier or by name; for weights without either, only their number is compared.
    """
    class_lists = [names for names in (weights.class_ids, weights.class_names) if names]
    return weights.classes == data.classes and (not class_lists or tuple(data.class_names) in class_lists)


def normalisation(
    recipe: Recipe, data: LabelledImages, weights: Pretrained | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns the mean that a network subtracts and the deviation that it divides by; None for none, as in the papers.

    The deviation is always that of the weights, whatever the mean, since the network was trained on images of that
    scale.

    Raises:
        ValueError: the mean should be that of the weights, and their normalisation is unknown; or the weights are
            for images of another number of channels.
    """
    if weights is not None:
        _check_channels(recipe, data, weights)
    if recipe.mean != "weights" or weights is None:
        assert recipe.mean is not None  # the recipe is resolved
        mean = data.mean(recipe.mean, recipe.size)
        return mean, None if weights is None else weights.with_mean(mean).deviation
    if weights.mean is None:
        raise ValueError(
            f"{weights.source} does not say how its images were normalised. Choose --mean channel, or pixel."
        )
    return weights.mean, weights.deviation


def _check_channels(recipe: Recipe, data: LabelledImages, weights: Pretrained) -> None:
    """Checks that weights are for images of as many channels as those of a data set."""
    theirs, channels = weights.image_shape(None)[-1], data.image_shape(recipe.size)[-1]
    if theirs != channels:
        raise ValueError(
            f"`weights` must be for images with as many channels as those of {recipe.dataset}, {channels}. "
            f"Received: {weights.source}, for {theirs}"
        )


def defaults(recipe: Recipe, data: LabelledImages, weights: Pretrained | None) -> dict[str, Any]:
    """Returns the values for fields of a recipe that are None, for `Recipe.resolve`.

    They are those of the data set; with weights, the mean and the size of photographs are those of the weights.

    Raises:
        ValueError: images in memory do not have the size in the recipe.
    """
    if weights is None:
        return data.defaults(recipe.size, recipe.test_size)
    view = {} if data.in_memory or recipe.size is not None else weights.view
    values = {**data.defaults(recipe.size or view.get("size"), recipe.test_size), "mean": "weights"}
    if view and values["test_size"] == view["size"]:
        values["test_resize"] = view["resize"]
    return values


def probe_recipe(recipe: Recipe) -> Recipe | None:
    """Returns the recipe of the probe, which trains only what is not frozen; None if the resolved recipe has none."""
    if recipe.freeze_until is None or not recipe.probe_epochs:
        return None
    return replace(
        recipe,
        epochs=recipe.probe_epochs,
        iterations=None,
        learning_rate=recipe.learning_rate if recipe.probe_rate is None else recipe.probe_rate,
        probe_epochs=None,
        probe_rate=None,
    )
