"""What a network takes an image for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from .. import saving
from ..data import DATASETS, DataError, list_images, read_center, read_image, resize_to
from ..data.labels import IMAGENET, class_ids, class_names
from .views import shapes

BATCH = 64
Images = Iterator[tuple[str, np.ndarray | DataError]]  # what each is called, and what it is or why it is none


def predict(
    model: keras.Model,
    source: str | Path,
    class_names: list[str] | None = None,
    top: int = 5,
    view: dict[str, int] | None = None,
) -> list[dict[str, Any]]:
    """Names the most probable classes of a picture, of every picture in a folder, or of every image in an array.

    Args:
        model: takes raw images of 0 to 255, gives a probability a class; or a logit, as a run's checkpoints do, if its
            last layer has no activation.
        source: an image file, a folder, or a `.npy` file of one image or of (n, height, width, channels).
            Pictures of another size are resized and cropped to the network's.
        class_names: a name a class; None for the classes' numbers.
        top: how many classes to name.
        view: "size" and "resize" of the centre square that the model was tested on, which picture files are cut to;
            None for the largest part in the middle that has the proportions of the network's images.

    Returns:
        A dict an image, in order: "image" (its path, or path[index]) and "classes", the most probable first, each with
        "class", "name" and "probability". A file of a folder that does not decode has "error" instead of "classes".

    Raises:
        ValueError: a source that is not there, or a single image that does not decode; the message names it.
    """
    shape, classes = shapes(model)
    names = class_names or [str(number) for number in range(classes)]
    if len(names) != classes:
        raise ValueError(f"{model.name!r} has {classes} classes. Received: {len(names)} class names")
    if not top >= 1:
        raise ValueError(f"`top` must be at least 1. Received: {top}")
    return list(_results(model, _images(Path(source), shape, view), names, top))


def decode_predictions(
    predictions: Any, top: int = 5, labels: str | Path | Sequence[str] = "imagenet"
) -> list[list[tuple[str, str, float]]]:
    """Names the most probable classes, as keras.applications' function of this name does.

    Args:
        predictions: (n, classes), what a network gives; an array or a tensor.
        top: how many classes to name.
        labels: "imagenet", "cifar10", "cifar100" or "digits"; the `.keras` file or the folder of the run that the
            network comes from; or a name a class.

    Returns:
        A list an image, the most probable class first: its identifier (ImageNet's "n02123045"; else its number), its
        name, and what the network gives it.

    Raises:
        ValueError: predictions or labels that do not fit one another, or labels that nobody knows.
    """
    predictions = keras.ops.convert_to_numpy(predictions)
    ids, names = _labels(labels)
    if predictions.ndim != 2 or predictions.shape[1] != len(names):
        raise ValueError(f"{len(names)} labels need predictions (n, {len(names)}). Received: {predictions.shape}")
    ids = ids or tuple(map(str, range(len(names))))
    return [[(ids[number], names[number], float(row[number])) for number in _ranked(row, top)] for row in predictions]


def _labels(labels: str | Path | Sequence[str]) -> tuple[Sequence[str] | None, Sequence[str]]:
    """The identifiers, if there are any, and the names."""
    if not isinstance(labels, str | Path):
        return None, labels
    if labels in (IMAGENET, *DATASETS):
        return class_ids(str(labels)), class_names(str(labels))
    if not Path(labels).exists():
        raise ValueError(
            f"`labels` must be {IMAGENET!r}, {', '.join(map(repr, DATASETS))}, a model file, a run folder, or a name a "
            f"class. Received: {str(labels)!r}"
        )
    info = saving.read_info(labels)
    if "class_names" not in info:
        raise ValueError(f"{str(labels)!r} does not name its classes.")
    return info.get("class_ids"), info["class_names"]


def _results(model: keras.Model, images: Images, names: list[str], top: int) -> Iterator[dict[str, Any]]:
    while batch := list(itertools.islice(images, BATCH)):
        whole = [image for _, image in batch if not isinstance(image, DataError)]
        rows = iter(_probabilities(model, np.stack(whole)) if whole else ())
        for label, image in batch:
            if isinstance(image, DataError):
                yield {"image": label, "error": str(image)}
            else:
                yield {"image": label, "classes": _named(next(rows), names, top)}


def _images(source: Path, shape: tuple[int | None, int | None, int], view: dict[str, int] | None) -> Images:
    height, width, channels = shape

    def read(path: Path) -> np.ndarray:
        if view:
            return read_center(path, **view)
        return resize_to(read_image(path), height or 224, width or 224, channels)

    if source.suffix == ".npy":
        for index, image in enumerate(_array(source)):
            yield f"{source}[{index}]", resize_to(image, height or image.shape[0], width or image.shape[1], channels)
    elif source.is_dir():
        for path in list_images(source):
            try:
                yield str(path), read(path)
            except DataError as error:
                yield str(path), error
    else:
        yield str(source), read(source)


def _array(path: Path) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"{str(path)!r} is no array of images: {error}") from error
    if array.ndim == 3:
        array = array[None]
    if array.ndim != 4 or array.shape[-1] not in (1, 3) or not len(array):
        raise ValueError(
            f"{str(path)!r} must hold images as (n, height, width, channels) with 1 or 3 channels. "
            f"Received: {array.shape}"
        )
    if array.dtype != np.uint8:
        if array.dtype.kind == "f" and array.max() <= 1 and (array % 1).any():
            raise ValueError(f"{str(path)!r} must hold values of 0 to 255, but holds 0 to 1: multiply them by 255.")
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all() or array.min() < 0 or array.max() > 255:
            raise ValueError(f"{str(path)!r} must hold values of 0 to 255. Received: {array.dtype}")
        array = np.rint(array).astype("uint8")
    return array


def _probabilities(model: keras.Model, images: np.ndarray) -> np.ndarray:
    probabilities = np.asarray(model.predict(images, verbose=0), dtype="float64")
    if getattr(model.layers[-1], "activation", None) is keras.activations.linear:
        probabilities = np.exp(probabilities - probabilities.max(axis=1, keepdims=True))
        probabilities /= probabilities.sum(axis=1, keepdims=True)
    return probabilities


def _named(row: np.ndarray, names: list[str], top: int) -> list[dict[str, Any]]:
    return [
        {"class": int(number), "name": names[number], "probability": round(float(row[number]), 6)}
        for number in _ranked(row, top)
    ]


def _ranked(row: np.ndarray, top: int) -> np.ndarray:
    """The numbers of the most probable classes."""
    return np.argsort(-row, kind="stable")[:top]
