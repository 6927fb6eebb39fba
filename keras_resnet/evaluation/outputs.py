"""The outputs of a network on a data set, in the papers' ways: one view per image, ten crops, or several scales."""

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
from ..models.graph import last_operation

MAX_PENDING_PIXELS = 2**26  # limit on the views that wait for others of the same shape


@dataclass(frozen=True)
class TestOutputs:
    """The outputs of a network for a data set.

    Attributes:
        probabilities: float32 (n, classes), one row for each image that could be decoded, in order.
        labels: int (n,), the true classes.
        positions: int (n,), the positions of these images in the data set.
        bad: the number of images that could not be decoded.
        seconds: the duration of the test.
    """

    probabilities: np.ndarray
    labels: np.ndarray
    positions: np.ndarray
    bad: int
    seconds: float


def image_shape(model: keras.Model) -> tuple[int | None, int | None, int]:
    """Returns the shape (height, width, channels) of a network's input.

    Raises:
        ValueError: the input of the model is not one batch of images in the channels-last format.
    """
    if len(model.inputs) != 1 or len(model.inputs[0].shape) != 4:
        inputs = ", ".join(str(tuple(tensor.shape)) for tensor in model.inputs)
        raise ValueError(
            f"{model.name!r} must take images as (batch, height, width, channels). Received: inputs {inputs}"
        )
    layouts = [layer.data_format for layer in model.layers if hasattr(layer, "data_format")]
    if layouts[:1] == ["channels_first"]:
        raise ValueError(
            f"{model.name!r} must take images in the channels-last format. Build it with data_format='channels_last' "
            "and its weights, which fit both formats."
        )
    return tuple(model.inputs[0].shape[1:])


def shapes(model: keras.Model) -> tuple[tuple[int | None, int | None, int], int]:
    """Returns the shape (height, width, channels) of a network's input, and its number of classes.

    Raises:
        ValueError: the input of the model is not one batch of images in the channels-last format, or its output is not
            (batch, classes).
    """
    shape = image_shape(model)
    if len(model.outputs) != 1 or len(model.outputs[0].shape) != 2:
        outputs = ", ".join(str(tuple(tensor.shape)) for tensor in model.outputs)
        raise ValueError(
            f"{model.name!r} must take images as (batch, height, width, channels) and return (batch, classes). "
            f"Received: outputs {outputs}"
        )
    return shape, model.outputs[0].shape[-1]


def check_classifies(model: keras.Model) -> None:
    """Checks that a network does not end in the pooling of features, whose shape is that of probabilities, or in one
    logit, of which a softmax makes 1 whatever the image is.

    Raises:
        ValueError: it does.
    """
    if isinstance(last_operation(model), (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D)):
        raise ValueError(
            f"{model.name!r} ends in pooling: it returns features, and no probabilities of classes. Build it with "
            "include_top=True."
        )
    if outputs_logits(model) and model.outputs[0].shape[-1] == 1:
        raise ValueError(
            f"{model.name!r} returns a single logit, of which a softmax would make 1 for every image. Give it a "
            "sigmoid, or one logit per class."
        )


def outputs_logits(model: keras.Model) -> bool:
    """Returns whether a network's outputs are logits, as in checkpoints, or logarithms of probabilities.

    A softmax turns either into probabilities.
    """
    logits = keras.activations.linear, keras.activations.log_softmax
    return getattr(last_operation(model), "activation", None) in logits


def probabilities_of(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Returns the class probabilities of images, float32 (n, classes), with a softmax if the model outputs logits."""
    (outputs,) = keras.tree.flatten(model.predict_on_batch(images))  # a model may return a dict of one
    outputs = np.asarray(outputs, dtype="float64")
    if outputs_logits(model):
        outputs = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        outputs /= outputs.sum(axis=1, keepdims=True)
    return outputs.astype("float32")


def single_view(
    model: keras.Model, batches: ArrayTestBatches | StreamTestBatches, *, mirror: bool = False, verbose: int = 0
) -> TestOutputs:
    """Tests a network on one view of every image.

    Args:
        model: takes raw images and returns one probability, or one logit, per class.
        batches: a data set's `test_batches`: images (n, height, width, channels) of 0 to 255, integer labels (n,) and
            weights (n,), which are 0 for images that are not counted.
        mirror: whether to average the probabilities of each image and of its mirror image.
        verbose: 1 for a progress bar.

    Raises:
        ValueError: the images or labels do not fit the network.
    """
    shape, classes = shapes(model)
    predict = _mirror_averaged if mirror else probabilities_of
    all_probabilities, all_labels, all_counted = [], [], []
    start = time.perf_counter()
    for images, labels, weights in tqdm(batches, "Testing", len(batches), leave=False, disable=not verbose):
        check_images(model, shape, images.shape[1:])
        _check_labels(model, classes, labels)
        counted = weights > 0
        all_probabilities.append(predict(model, images)[counted])
        all_labels.append(labels[counted])
        all_counted.append(counted)
    positions = np.flatnonzero(np.concatenate(all_counted))
    bad = len(batches.bad.names) if isinstance(batches, StreamTestBatches) else 0
    probabilities, labels = np.concatenate(all_probabilities), np.concatenate(all_labels)
    return TestOutputs(probabilities, labels, positions, bad, time.perf_counter() - start)


def multi_view(model: keras.Model, images: MultiViewBatches, batch_size: int, *, verbose: int = 0) -> TestOutputs:
    """Tests a network on several views of every image and on their mirror images, averaging the probabilities.

    For entire images, the paper averages the logits of the fully convolutional form of the network over all positions
    (He et al. 2015, section 3.4). Since the dense layer is linear, these equal the logits of the averaged features,
    which is what the network computes.

    Args:
        model: takes raw images of the size of the views, or of any size.
        images: a data set's `multi_view`.
        batch_size: the number of views of 224x224 per batch; fewer for larger views.
        verbose: 1 for a progress bar.

    Raises:
        ValueError: the images or labels do not fit the network.
    """
    shape, classes = shapes(model)
    probability_sums, view_counts = np.zeros((len(images), classes), "float32"), np.zeros(len(images), int)
    labels = []
    pending = _PendingViews(batch_size)
    start = time.perf_counter()

    def predict(group: list[tuple[int, np.ndarray]]) -> None:
        numbers, views = zip(*group, strict=True)
        np.add.at(probability_sums, list(numbers), _mirror_averaged(model, np.stack(views)))

    for number, (label, views) in enumerate(tqdm(images, "Testing", len(images), leave=False, disable=not verbose)):
        _check_labels(model, classes, np.array([label]))
        labels.append(label)
        view_counts[number] = len(views)
        for view in views:
            check_images(model, shape, view.shape)
            for group in pending.add(number, view):
                predict(group)
    for group in pending.groups.values():
        predict(group)
    positions = np.flatnonzero(view_counts)
    bad = len(images) - len(positions)
    seconds = time.perf_counter() - start
    probabilities = probability_sums[positions] / view_counts[positions, None]
    return TestOutputs(probabilities, np.array(labels)[positions], positions, bad, seconds)


class _PendingViews:
    """Views that wait for others of the same shape, to form a batch.

    Args:
        batch_size: as for `multi_view`.
    """

    def __init__(self, batch_size: int) -> None:
        self.batch_size, self.pixels = batch_size, 0
        self.groups: dict[tuple[int, ...], list[tuple[int, np.ndarray]]] = defaultdict(list)

    def add(self, number: int, view: np.ndarray) -> Iterator[list[tuple[int, np.ndarray]]]:
        """Adds a view of the image with this number; yields the groups that are due for prediction."""
        self.groups[view.shape].append((number, view))
        self.pixels += _pixels(view.shape)
        if len(self.groups[view.shape]) == _views_per_batch(view.shape, self.batch_size):
            yield self._pop(view.shape)
        while self.pixels > MAX_PENDING_PIXELS:
            yield self._pop(max(self.groups, key=lambda shape: len(self.groups[shape]) * _pixels(shape)))

    def _pop(self, shape: tuple[int, ...]) -> list[tuple[int, np.ndarray]]:
        group = self.groups.pop(shape)
        self.pixels -= len(group) * _pixels(shape)
        return group


def _pixels(shape: tuple[int, ...]) -> int:
    return shape[0] * shape[1]


def _views_per_batch(shape: tuple[int, ...], batch_size: int) -> int:
    """Returns how many views have as many pixels as a batch of 224x224, rounded down to a power of two."""
    fitting = max(1, batch_size * SIZE * SIZE // _pixels(shape))
    return 1 << (fitting.bit_length() - 1)


def _mirror_averaged(model: keras.Model, views: np.ndarray) -> np.ndarray:
    """Returns the class probabilities averaged over the views and their mirror images.

    The batch is padded to a power of two, since backends compile again for every new shape.
    """
    count = len(views)
    padded = np.zeros((1 << (count - 1).bit_length(), *views.shape[1:]), views.dtype)
    padded[:count] = views
    mirrored = np.ascontiguousarray(padded[:, :, ::-1])  # torch does not accept negative strides
    return (probabilities_of(model, padded) + probabilities_of(model, mirrored))[:count] / 2


def check_images(model: keras.Model, accepted: tuple[Any, ...], shape: tuple[int, ...]) -> None:
    """Checks that images have the shape that a network accepts, whose sides are None if it takes any.

    Raises:
        ValueError: they do not.
    """
    if any(side not in (None, received) for side, received in zip(accepted, shape, strict=True)):
        raise ValueError(f"{model.name!r} takes images of {accepted}. Received: {shape}")


def _check_labels(model: keras.Model, classes: int, labels: np.ndarray) -> None:
    if labels.max() >= classes:
        raise ValueError(f"{model.name!r} has {classes} classes. Received: labels up to {labels.max()}")
