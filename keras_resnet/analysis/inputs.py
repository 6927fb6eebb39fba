"""Inputs of the analyses: networks, trained or as initialised, and batches of test images."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from .. import backend, saving
from ..backend.devices import Devices
from ..data import ImageStream, LabelledImages, evenly_spaced, steps_per_epoch
from ..evaluation.evaluate import class_indices, crop_sizes
from ..evaluation.outputs import check_images, shapes
from ..evaluation.views import Views
from ..models.catalog import find
from ..models.graph import require_package_model
from ..models.taps import to_logits
from ..training.batch_norm import reestimate
from ..training.feed import Feed
from ..training.machine import Machine
from ..training.networks import build
from ..training.recipes import recipe_for
from ..training.transfer import defaults
from .analyses import Kind

Batches = Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]  # images, labels and weights

NO_SHORTCUTS = "The network must have shortcuts: only a single path leads through a plain one. Received: {!r}"
NO_IMAGES = "`batches` must contain an image with a weight above 0. Received: no images"
BATCH = 100
PIXELS = 2**19  # limit of a batch, whose maps are held in memory: ten photographs of 224x224
ESTIMATED = 10  # training batches from which the batch norm statistics of an untrained network are estimated


class Network(NamedTuple):
    """A network to analyse.

    Attributes:
        title: its name in results: the path of its file, or the network's name with its changed choices, as in
            `Recipe.title`.
        model: a model that takes raw images.
        info: the description stored in its file; for a network given by name, at most its "view".
    """

    title: str
    model: keras.Model
    info: dict[str, Any]


def check_name(name: str, choices: Mapping[str, Any], *, shortcuts: bool = False) -> None:
    """Checks what can be known of a network before a data set is loaded, which may have to be downloaded first.

    Args:
        name, choices: as for `network`.
        shortcuts: whether a network given by name must have shortcuts.

    Raises:
        ValueError: as for `network`, except for a network that does not take the data set's images; or a network given
            by name is plain although it must have shortcuts.
    """
    if not _is_path(name):
        spec = find(name, choices.get("unit")).respec(**choices)
        if shortcuts and spec.shortcut is None:
            raise ValueError(NO_SHORTCUTS.format(name))
        return
    if choices:
        raise ValueError(f"{', '.join(choices)} can only be set for a network given by name. Received: {name!r}")
    saving.read_info(name)


def _is_path(name: str) -> bool:
    return Path(name).exists() or bool(Path(name).suffix) or len(Path(name).parts) > 1


def network(name: str, data: LabelledImages, choices: Mapping[str, Any], seed: int) -> Network:
    """Loads a network from a file, or builds one by name.

    Args:
        name: a `.keras` file, a run folder, or the name of a network such as "resnet110". A network given by name is
            initialised as in a run on the data set, and its batch norm statistics are estimated from a few batches of
            training images, so that it normalises at inference as it would in training.
        data: the data set.
        choices: fields of `Spec` that differ from the named network's.
        seed: seed of the initial weights.

    Raises:
        ValueError: `name` is neither a file nor a network, `choices` are given for a file, or the network does not
            take the data set's images.
    """
    check_name(name, choices)
    if _is_path(name):
        return Network(name, *saving.load(name))
    recipe = recipe_for(dataset=data.name, model=name, network=dict(choices), seed=seed)
    steps = steps_per_epoch(data.train_count, recipe.batch_size)
    recipe = recipe.resolve(steps, defaults(recipe, data, None))
    with backend.silenced():
        keras.utils.set_random_seed(seed)
    networks = build(recipe, data)
    feed = Feed(recipe, data, Devices(), Machine())
    steps = min(steps, ESTIMATED)
    reestimate(networks.logits_model, feed.training_batches(0, 0), steps)
    view = {"view": {"size": recipe.test_size, "resize": recipe.test_resize}} if recipe.test_size else {}
    return Network(recipe.title, networks.model, view)


def check_network(title: str, model: keras.Model, kind: Kind) -> None:
    """Checks that a network can be analysed, so that of several networks none is analysed if one cannot be.

    Args:
        title: its name in messages.
        model: the network.
        kind: the analysis.

    Raises:
        ValueError: the model is not of this package, or has no top or no shortcuts although the analysis needs them.
    """
    require_package_model(model)
    if kind.top:
        to_logits(model)
    if kind.shortcuts and not any(re.fullmatch(r"stage\d+_unit\d+_add", layer.name) for layer in model.layers):
        raise ValueError(NO_SHORTCUTS.format(title))


def batches_for(
    model: keras.Model, info: Mapping[str, Any], data: LabelledImages, images: int, *, labels: bool = True
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Returns batches of test images of a data set, with the view on which the network was tested.

    Of a set in memory, they are the first test images. Of photographs, they are evenly spaced, since the photographs of
    a folder are sorted by class. Errors are raised by the call, not when the first batch is read.

    Args:
        model: a model that takes raw images.
        info: the description stored in its file.
        data: the data set.
        images: maximum number of images.
        labels: whether the labels are used, so that the network must know the data set's classes.

    Returns:
        An iterator of images, labels (the indices of the network's own classes) and weights; images after the last
        requested one have weight 0.

    Raises:
        ValueError: the network does not take the images, or does not know the classes.
    """
    view: dict[str, Any] = {}
    if not data.in_memory:
        view = dict(zip(("size", "resize"), crop_sizes(model, info.get("view", {}), Views()), strict=True))
    received = data.image_shape(view.get("size"))
    check_images(model, shapes(model)[0], received)
    indices = class_indices(model, info, data) if labels else np.arange(data.classes)
    size = min(BATCH, images, max(1, PIXELS // math.prod(received[:2])))
    batches = _evenly_spaced(data, images).test_batches(batch_size=size, **view)
    first = itertools.islice(batches, min(len(batches), math.ceil(images / size)))
    return ((batch, indices[classes], weights) for batch, classes, weights in _at_most(images, first))


def _evenly_spaced(data: LabelledImages, images: int) -> LabelledImages:
    """Returns the data set with `images` of its test images, in order; a set in memory unchanged."""
    if not isinstance(data, ImageStream):
        return data
    indices = data.test.indices[evenly_spaced(images, data.test_count)]
    return replace(data, test=replace(data.test, indices=indices))


def _at_most(images: int, batches: Batches) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yields batches of equal size, the last of which may have too many images: these get the weight 0."""
    for number, (batch, labels, weights) in enumerate(batches):
        weights = weights.copy()
        weights[images - number * len(batch) :] = 0
        yield batch, labels, weights


def counted(batches: Batches) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the images, as float32, and labels of batches, without those of weight 0.

    Raises:
        ValueError: no image has a weight above 0.
    """
    empty = True
    for images, labels, weights in batches:
        counts = weights > 0
        if counts.any():
            empty = False
            yield np.asarray(images[counts], "float32"), labels[counts]
    if empty:
        raise ValueError(NO_IMAGES)


def vectors(x: Any) -> np.ndarray:
    """Flattens an array or tensor (n, ...) to one vector per image, float64 (n, size)."""
    return keras.ops.convert_to_numpy(x).reshape(len(x), -1).astype("float64")


def norms(x: Any) -> np.ndarray:
    """Returns the Euclidean norm of each image's vector, float64 (n,)."""
    return np.linalg.norm(vectors(x), axis=1)


def significant(value: float) -> float:
    """Rounds to five significant digits, so that small values keep theirs."""
    return float(f"{value:.5g}")


def summed_loss(logits: Any, labels: Any) -> Any:
    """Returns the sum of the images' cross-entropies, so that the gradient at an image is that of its own loss."""
    losses = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    return keras.ops.sum(losses)
