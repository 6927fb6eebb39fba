"""What is looked into, and with what: networks, as they were trained or as they begin, and images."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from .. import backend, saving
from ..backend.devices import Devices
from ..data import LabelledImages, steps_per_epoch
from ..evaluation.evaluate import View, class_indices, crop_of
from ..evaluation.views import shapes
from ..training.batch_norm import reestimate
from ..training.feed import Feed
from ..training.machine import Machine
from ..training.networks import build
from ..training.recipes import recipe_for
from ..training.transfer import defaults

Batches = Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]  # images, labels and weights

BATCH = 100
PIXELS = 2**19  # of a batch, whose maps are kept: ten photographs of 224x224
NORMALISED = 10  # batches of training images over which batch norm's statistics are taken before a training


class Network(NamedTuple):
    """What is looked into.

    Attributes:
        title: what it is called in results: its file, or its name with the choices that make it another, as
            `Recipe.title` has them.
        model: takes raw images.
        info: what its file says of it.
    """

    title: str
    model: keras.Model
    info: dict[str, Any]


def network(name: str, data: LabelledImages, choices: Mapping[str, Any], seed: int) -> Network:
    """A network by what its user calls it.

    Args:
        name: a `.keras` file, a run folder, or the name of a network such as "resnet110", which then is as a run on the
            data set begins: by chance, and with batch norm's statistics over a few batches of its training images, so
            that at inference it normalises as in training.
        data: the data set.
        choices: fields of `Spec` that differ from the named network's.
        seed: of the chance.

    Raises:
        ValueError: neither a file nor a network; choices for one that is in a file; or images that it does not take.
    """
    if Path(name).exists() or Path(name).suffix or len(Path(name).parts) > 1:
        if choices:
            raise ValueError(f"{', '.join(choices)} can be chosen for a network that is named. Received: {name!r}")
        return Network(name, *saving.load(name))
    recipe = recipe_for(dataset=data.name, model=name, network=dict(choices), seed=seed)
    steps = steps_per_epoch(data.train_count, recipe.batch_size)
    recipe = recipe.resolve(steps, defaults(recipe, data, None))
    with backend.silenced():
        keras.utils.set_random_seed(seed)
    networks = build(recipe, data)
    feed = Feed(recipe, data, Devices(), Machine())
    steps = min(steps, NORMALISED)
    reestimate(networks.logits_model, feed.training_batches(0, 0), steps)
    view = {"view": {"size": recipe.test_size, "resize": recipe.test_resize}} if recipe.test_size else {}
    return Network(recipe.title, networks.model, view)


def batches_for(
    model: keras.Model, info: Mapping[str, Any], data: LabelledImages, images: int, *, labels: bool = True
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The first test images of a data set, as a network was tested on them; what does not fit is refused at once.

    Args:
        model: takes raw images.
        info: what its file says of it.
        data: the data set.
        images: how many, at most.
        labels: whether the labels are looked at, so that the network must know the data set's classes.

    Returns:
        An iterator of images, labels, as the network numbers its classes, and weights; those behind the last image have
        weight 0.

    Raises:
        ValueError: images that the network does not take, or classes that it does not know.
    """
    view = {}
    if not data.in_memory:
        view = dict(zip(("size", "resize"), crop_of(model, info.get("view", {}), View()), strict=True))
    shape = shapes(model)[0]
    there = data.image_shape(view.get("size"))
    if any(want not in (None, have) for want, have in zip(shape, there, strict=True)):
        raise ValueError(f"{model.name!r} takes images of {shape}. Received: {there}")
    place = class_indices(model, info, data) if labels else np.arange(data.classes)
    size = min(BATCH, images, max(1, PIXELS // math.prod(there[:2])))
    batches = data.test_batches(batch_size=size, **view)
    first = itertools.islice(batches, min(len(batches), math.ceil(images / size)))
    return ((seen, place[right], weights) for seen, right, weights in _at_most(images, first))


def _at_most(images: int, batches: Batches) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Batches with so many images of weight; the others have 0."""
    for number, (seen, right, weights) in enumerate(batches):
        left = images - number * len(seen)
        if left <= 0:
            break
        weights = weights.copy()
        weights[left:] = 0
        yield seen, right, weights


def counted(batches: Batches) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images, as float32, and labels of batches, without those of weight 0.

    Raises:
        ValueError: nothing is left.
    """
    found = 0
    for images, labels, weights in batches:
        there = weights > 0
        if there.any():
            found += 1
            yield np.asarray(images[there], "float32"), labels[there]
    if not found:
        raise ValueError("There are no images to look with.")


def vectors(x: Any) -> np.ndarray:
    """An array or a tensor (n, ...) as a vector an image, float64 (n, numbers)."""
    return keras.ops.convert_to_numpy(x).reshape(len(x), -1).astype("float64")


def norms(x: Any) -> np.ndarray:
    """The Euclidean norm of each image's vector, float64 (n,)."""
    return np.linalg.norm(vectors(x), axis=1)


def summed_loss(logits: Any, labels: Any) -> Any:
    """The cross-entropy of images, added up, so that the gradient at each of them is that of its own."""
    losses = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    return keras.ops.sum(losses)
