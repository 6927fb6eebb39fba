"""The papers' ways to look at a test set: one view of an image, ten crops, whole images at several scales."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from ..data import SIZE, ArrayTestBatches, MultiViewBatches, StreamTestBatches

WAITING = 2**26  # pixels of views that wait for others of their shape


@dataclass(frozen=True)
class TestOutputs:
    """What a network makes of a data set.

    Attributes:
        probabilities: float32 (n, classes), a row for each image that is whole, in order.
        labels: int (n,), the right classes.
        positions: int (n,), where these images stand in the data set.
        bad: how many images are not whole.
        seconds: how long it took.
    """

    probabilities: np.ndarray
    labels: np.ndarray
    positions: np.ndarray
    bad: int
    seconds: float


def image_shape(model: keras.Model) -> tuple[int | None, int | None, int]:
    """The (height, width, channels) of the images that a network takes.

    Raises:
        ValueError: a model that does not take images, with the channels last.
    """
    if len(model.inputs) != 1 or len(model.inputs[0].shape) != 4:
        takes = ", ".join(str(tuple(tensor.shape)) for tensor in model.inputs)
        raise ValueError(
            f"{model.name!r} must take images as (batch, height, width, channels). Received: a model from {takes}"
        )
    layouts = [layer.data_format for layer in model.layers if hasattr(layer, "data_format")]
    if layouts[:1] == ["channels_first"]:
        raise ValueError(
            f"{model.name!r} takes images with the channels first. Build it with data_format='channels_last' and these "
            "weights, which fit both."
        )
    return tuple(model.inputs[0].shape[1:])


def shapes(model: keras.Model) -> tuple[tuple[int | None, int | None, int], int]:
    """The (height, width, channels) of the images that a network takes, and its number of classes.

    Raises:
        ValueError: a model that does not take images, with the channels last, or does not tell classes.
    """
    shape = image_shape(model)
    if len(model.outputs) != 1 or len(model.outputs[0].shape) != 2:
        gives = ", ".join(str(tuple(tensor.shape)) for tensor in model.outputs)
        raise ValueError(
            f"{model.name!r} must take images as (batch, height, width, channels) and give (batch, classes). "
            f"Received: a model that gives {gives}"
        )
    return shape, model.outputs[0].shape[-1]


def gives_logits(model: keras.Model) -> bool:
    """Whether a network ends in logits, as a checkpoint does: a last layer whose activation is none."""
    return getattr(model.layers[-1], "activation", None) is keras.activations.linear


def probabilities_of(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """What a network gives, float32 (n, classes). Logits become probabilities."""
    given = np.asarray(model.predict_on_batch(images), dtype="float64")
    if gives_logits(model):
        given = np.exp(given - given.max(axis=1, keepdims=True))
        given /= given.sum(axis=1, keepdims=True)
    return given.astype("float32")


def single_view(
    model: keras.Model, batches: ArrayTestBatches | StreamTestBatches, *, mirror: bool = False, verbose: int = 0
) -> TestOutputs:
    """Tests a network on one view of every image.

    Args:
        model: takes raw images, gives a probability a class, or a logit.
        batches: a data set's `test_batches`: images (n, height, width, channels) of 0 to 255, integer labels (n,) and
            weights (n,), of which 0 stands for an image that does not count.
        mirror: whether it sees the mirror image too; the probabilities of both are averaged.
        verbose: 1 for a progress bar.

    Raises:
        ValueError: images or labels that do not fit the network.
    """
    shape, classes = shapes(model)
    look = _both_ways if mirror else probabilities_of
    rows, right, counts = [], [], []
    begun = time.perf_counter()
    for images, labels, weights in tqdm(batches, "Testing", len(batches), leave=False, disable=not verbose):
        _check_images(model, shape, images.shape[1:])
        _check_labels(model, classes, labels)
        rows.append(look(model, images)[weights > 0])
        right.append(labels[weights > 0])
        counts.append(weights > 0)
    positions = np.flatnonzero(np.concatenate(counts))
    bad = len(getattr(getattr(batches, "bad", None), "names", ()))
    return TestOutputs(np.concatenate(rows), np.concatenate(right), positions, bad, time.perf_counter() - begun)


def multi_view(model: keras.Model, images: MultiViewBatches, batch_size: int, *, verbose: int = 0) -> TestOutputs:
    """Tests a network on several views of every image and their mirror images, whose probabilities are averaged.

    A whole image gets the logits of the fully convolutional form, averaged over positions (He et al. 2015, section
    3.4). These are the logits of its averaged features, since the dense layer is linear: what the network computes.

    Args:
        model: takes raw images of the size of the views, or of any.
        images: a data set's `multi_view`.
        batch_size: views of 224x224 at a time; fewer of larger ones.
        verbose: 1 for a progress bar.

    Raises:
        ValueError: images or labels that do not fit the network.
    """
    shape, classes = shapes(model)
    total, seen, right = np.zeros((len(images), classes), "float32"), np.zeros(len(images), int), []
    waiting = _Waiting(batch_size)
    begun = time.perf_counter()

    def look(group: list[tuple[int, np.ndarray]]) -> None:
        numbers, views = zip(*group, strict=True)
        np.add.at(total, list(numbers), _both_ways(model, np.stack(views)))

    for number, (label, views) in enumerate(tqdm(images, "Testing", len(images), leave=False, disable=not verbose)):
        _check_labels(model, classes, np.array([label]))
        right.append(label)
        seen[number] = len(views)
        for view in views:
            _check_images(model, shape, view.shape)
            for group in waiting.add(number, view):
                look(group)
    for group in waiting.groups.values():
        look(group)
    whole = np.flatnonzero(seen)
    bad = len(images) - len(whole)
    seconds = time.perf_counter() - begun
    return TestOutputs(total[whole] / seen[whole, None], np.array(right)[whole], whole, bad, seconds)


class _Waiting:
    """Views that wait for others of their shape, to be looked at together.

    Args:
        batch_size: as `multi_view` takes it.
    """

    def __init__(self, batch_size: int) -> None:
        self.batch_size, self.pixels = batch_size, 0
        self.groups: dict[tuple[int, ...], list[tuple[int, np.ndarray]]] = defaultdict(list)

    def add(self, number: int, view: np.ndarray) -> Iterator[list[tuple[int, np.ndarray]]]:
        """Takes the view of an image, by its number; yields the groups that are to wait no longer."""
        self.groups[view.shape].append((number, view))
        self.pixels += _pixels(view.shape)
        if len(self.groups[view.shape]) == _at_a_time(view.shape, self.batch_size):
            yield self._pop(view.shape)
        while self.pixels > WAITING:
            yield self._pop(max(self.groups, key=lambda shape: len(self.groups[shape]) * _pixels(shape)))

    def _pop(self, shape: tuple[int, ...]) -> list[tuple[int, np.ndarray]]:
        group = self.groups.pop(shape)
        self.pixels -= len(group) * _pixels(shape)
        return group


def _pixels(shape: tuple[int, ...]) -> int:
    return shape[0] * shape[1]


def _at_a_time(shape: tuple[int, ...], batch_size: int) -> int:
    """As many images as have the pixels of a batch of 224x224, rounded down to a power of two."""
    fitting = max(1, batch_size * SIZE * SIZE // _pixels(shape))
    return 1 << (fitting.bit_length() - 1)


def _both_ways(model: keras.Model, views: np.ndarray) -> np.ndarray:
    """The mean of what a network makes of images and of their mirror images.

    The batch is filled up to a power of two, since an engine compiles anew for every new shape.
    """
    count = len(views)
    filled = np.zeros((1 << (count - 1).bit_length(), *views.shape[1:]), views.dtype)
    filled[:count] = views
    mirrored = np.ascontiguousarray(filled[:, :, ::-1])  # torch takes no negative strides
    return (probabilities_of(model, filled) + probabilities_of(model, mirrored))[:count] / 2


def _check_images(model: keras.Model, wanted: tuple[Any, ...], shape: tuple[int, ...]) -> None:
    if any(want not in (None, have) for want, have in zip(wanted, shape, strict=True)):
        raise ValueError(f"{model.name!r} takes images of {wanted}. Received: {shape}")


def _check_labels(model: keras.Model, classes: int, labels: np.ndarray) -> None:
    if labels.max() >= classes:
        raise ValueError(f"{model.name!r} knows {classes} classes; the labels go up to {labels.max()}.")
