"""Training that begins with the weights of another network: a linear probe, then all of it at a lower rate."""

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

PROBE = "probe"  # the folder of the first run of two, within that of the second


def read_weights(recipe: Recipe, folder: RunFolder | None = None) -> Pretrained | None:
    """The weights that a run begins with, for images in RGB.

    Args:
        recipe: the run's.
        folder: the run's. If it has begun, and its weights are no longer to be had, what it has of them is enough.

    Raises:
        ValueError: there are none such, or they are of another network.
    """
    if recipe.weights is None:
        return None
    architecture, chosen = recipe.architecture, recipe.network
    spec = architecture.respec(**chosen)
    try:
        found = read(recipe.weights, spec, chosen, name=recipe.model)
    except ValueError:
        found = _taken_over(recipe, folder) if folder else None
        if found is None:
            raise
    found.spec_for(architecture.respec, chosen)
    return found.for_rgb()


def _taken_over(recipe: Recipe, folder: RunFolder) -> Pretrained | None:
    """What a run or its probe has of the weights that it began with, in its newest network that is whole."""
    begun = folder.begun()
    if begun.get("weights") != recipe.weights:
        return None
    view = {"size": begun["size"], "resize": begun["test_resize"]} if begun.get("size") else {}
    for path in (*folder.networks(), *RunFolder(folder.path / PROBE).networks()):
        with contextlib.suppress(ValueError):
            return replace(read(path, recipe.spec), layout=as_choices(begun.get("network", {})), view=view)
    return None


def matches_classes(weights: Pretrained, data: LabelledImages) -> bool:
    """Whether weights are for the very classes of a data set, so that their dense layer is of use.

    They may know these by identifier or by name; those that name none are taken at their number.
    """
    known = [names for names in (weights.class_ids, weights.class_names) if names]
    return weights.classes == data.classes and (not known or tuple(data.class_names) in known)


def normalisation(
    recipe: Recipe, data: LabelledImages, weights: Pretrained | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """The mean that a network subtracts, and the deviation that it divides by, if any; the papers' have none.

    The deviation is that of the weights, whatever the mean: the network learned from images of that scale.

    Raises:
        ValueError: weights that do not say how their images were normalised.
    """
    deviation = None if weights is None else weights.deviation
    if recipe.mean != "weights" or weights is None:
        mean = data.mean(recipe.mean, recipe.size)
        if np.ndim(deviation) == 3 and deviation.shape != mean.shape:
            deviation = deviation.mean(axis=(0, 1))
        return mean, deviation
    if not weights.normalised:
        raise ValueError(
            f"{weights.source} does not say how its images were normalised. Choose --mean channel, or pixel."
        )
    return weights.mean, deviation


def defaults(recipe: Recipe, data: LabelledImages, weights: Pretrained | None) -> dict[str, Any]:
    """What the data set asks for where the recipe says nothing; the weights, of the mean and the size of photographs.

    Raises:
        ValueError: a size that the images do not have.
    """
    if weights is None:
        return data.defaults(recipe.size, recipe.test_size)
    view = {} if data.in_memory or recipe.size is not None else weights.view
    found = {**data.defaults(recipe.size or view.get("size"), recipe.test_size), "mean": "weights"}
    if view and found["test_size"] == view["size"]:
        found["test_resize"] = view["resize"]
    return found


def probe_recipe(recipe: Recipe) -> Recipe | None:
    """The run before a run, which trains what is not frozen, if the resolved recipe asks for one."""
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
