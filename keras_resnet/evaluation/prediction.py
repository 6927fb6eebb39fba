"""What a network takes an image for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from .. import saving
from ..data import DATASETS, DataError
from ..data.labels import IMAGENET, class_ids, class_names
from ..models.taps import dense_logits
from .explanation import draw_explanation, heat
from .source import Source, batches
from .views import probabilities_of, shapes


def predict(
    model: keras.Model,
    source: str | Path,
    class_names: list[str] | None = None,
    top: int = 5,
    view: dict[str, int] | None = None,
    explain: str | Path | None = None,
    *,
    verbose: int = 0,
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
        explain: a folder for pictures of what speaks for the most probable class, one an image, see `grad_cam`.
        verbose: 1 for a progress bar.

    Returns:
        A dict an image, in order: "image" (its path, or path[index]) and "classes", the most probable first, each with
        "class", "name" and "probability"; and "explanation", the path of its picture, if asked for. A file of a folder
        that does not decode has "error" instead.

    Raises:
        ValueError: a source that is not there, or a single image that does not decode; the message names it.
    """
    shape, classes = shapes(model)
    names = class_names or [str(number) for number in range(classes)]
    if len(names) != classes:
        raise ValueError(f"{model.name!r} has {classes} classes. Received: {len(names)} class names")
    if not top >= 1:
        raise ValueError(f"`top` must be at least 1. Received: {top}")
    images = Source(source, shape, view)
    dense = dense_logits(model) if explain else None
    bar = tqdm(images, "Looking", len(images), leave=False, disable=not verbose)

    def look(batch: np.ndarray) -> list[tuple[np.ndarray, np.ndarray | None]]:
        probabilities = probabilities_of(model, batch)
        heats = heat(model, dense, batch, probabilities.argmax(axis=1)) if explain else [None] * len(batch)
        return list(zip(probabilities, heats, strict=True))

    results = []
    for name, image, found in batches(images, look, bar):
        if isinstance(image, DataError):
            results.append({"image": name, "error": str(image)})
            continue
        probabilities, speaking = found
        results.append({"image": name, "classes": _named(probabilities, names, top)})
        if explain:
            path = Path(explain) / f"{images.short_name(name)}.png"
            best = results[-1]["classes"][0]
            title = f"{images.short_name(name)}: {best['name']}, {100 * best['probability']:.1f} %"
            saving.write_atomically(path, partial(draw_explanation, image, speaking, title=title))
            results[-1]["explanation"] = str(path)
    return results


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


def _named(row: np.ndarray, names: list[str], top: int) -> list[dict[str, Any]]:
    return [
        {"class": int(number), "name": names[number], "probability": round(float(row[number]), 6)}
        for number in _ranked(row, top)
    ]


def _ranked(row: np.ndarray, top: int) -> np.ndarray:
    """The numbers of the most probable classes."""
    return np.argsort(-row, kind="stable")[:top]
