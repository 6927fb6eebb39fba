"""Prediction of the classes of images."""

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
from ..files import write_atomically
from ..models.taps import dense_logits
from .explanation import draw_explanation, heat
from .outputs import check_classifies, probabilities_of, shapes
from .source import Source, batches


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
    """Predicts the most probable classes of an image file, of all image files in a folder, or of an array of images.

    Args:
        model: takes raw images of 0 to 255 and returns one probability per class; or one logit per class, like the
            checkpoints of a run, if its last layer has no activation.
        source: an image file, a folder, or a `.npy` file of one image or of (n, height, width, channels).
            Images of another size are resized and cropped to that of the network.
        class_names: one name per class; None for the class indices.
        top: the number of classes to return.
        view: "size" and "resize" of the centre square that the model was tested on, to which image files are cropped;
            None for the largest centred part with the aspect ratio of the network's input.
        explain: a folder for one picture per image of the regions that support its most probable class; see `grad_cam`.
        verbose: 1 for a progress bar.

    Returns:
        One dict per image, in order: "image" (its path, or path[index]); "classes", the most probable first, each with
        "class", "name" and "probability"; and with `explain`, "explanation", the path of its picture. A file in a
        folder that cannot be decoded has "error" instead.

    Raises:
        ValueError: the source does not exist, or its only image cannot be decoded; the message names it. Or the model
            returns features.
    """
    shape, classes = shapes(model)
    check_classifies(model)
    names = class_names or [str(number) for number in range(classes)]
    if len(names) != classes:
        raise ValueError(f"{model.name!r} has {classes} classes. Received: {len(names)} class names")
    _check_top(top)
    images = Source(source, shape, view)
    dense = dense_logits(model) if explain else None
    bar = tqdm(images, "Predicting", len(images), leave=False, disable=not verbose)

    def predict_batch(batch: np.ndarray) -> list[tuple[np.ndarray, np.ndarray | None]]:
        probabilities = probabilities_of(model, batch)
        heats = heat(model, dense, batch, probabilities.argmax(axis=1)) if explain else [None] * len(batch)
        return list(zip(probabilities, heats, strict=True))

    results: list[dict[str, Any]] = []
    for name, image, outputs in batches(bar, predict_batch):
        if isinstance(image, DataError):
            results.append({"image": name, "error": str(image)})
            continue
        probabilities, image_heat = outputs
        results.append({"image": name, "classes": _top_classes(probabilities, names, top)})
        if explain:
            path = Path(explain) / f"{images.short_name(name)}.png"
            best = results[-1]["classes"][0]
            title = f"{images.short_name(name)}: {best['name']}, {100 * best['probability']:.1f} %"
            write_atomically(path, partial(draw_explanation, image, image_heat, title=title))
            results[-1]["explanation"] = str(path)
    return results


def decode_predictions(
    preds: Any, top: int = 5, labels: str | Path | Sequence[str] = "imagenet"
) -> list[list[tuple[str, str, float]]]:
    """Decodes predictions to the most probable classes, like the function of this name in keras.applications.

    Args:
        preds: (n, classes), the outputs of a network, as an array or a tensor.
        top: the number of classes to return.
        labels: "imagenet", "cifar10", "cifar100" or "digits"; the `.keras` file or the run folder of the network; or
            one name per class.

    Returns:
        One list per image with a tuple per class, the most probable first: the class's identifier (for ImageNet like
        "n02123045", otherwise its index), its name, and the network's output for it.

    Raises:
        ValueError: the number of labels differs from that of the predicted classes, `labels` is unknown, or `top` is
            below 1.
    """
    _check_top(top)
    preds = keras.ops.convert_to_numpy(preds)
    ids, names = _labels(labels)
    if preds.ndim != 2 or preds.shape[1] != len(names):
        raise ValueError(
            f"`preds` must have the shape (n, {len(names)}) for {len(names)} labels. Received: {preds.shape}"
        )
    ids = ids or tuple(map(str, range(len(names))))
    return [[(ids[number], names[number], float(row[number])) for number in _ranked(row, top)] for row in preds]


def _check_top(top: int) -> None:
    if not top >= 1:
        raise ValueError(f"`top` must be at least 1. Received: {top}")


def _labels(labels: str | Path | Sequence[str]) -> tuple[Sequence[str] | None, Sequence[str]]:
    """Returns the identifiers of the classes, or None, and their names."""
    if not isinstance(labels, str | Path):
        return None, labels
    if labels in (IMAGENET, *DATASETS):
        return class_ids(str(labels)), class_names(str(labels))
    if not saving.model_file(labels).exists():
        raise ValueError(
            f"`labels` must be {IMAGENET!r}, {', '.join(map(repr, DATASETS))}, a model file, a run folder, or one name "
            f"per class. Received: {str(labels)!r}"
        )
    info = saving.read_info(labels)
    if "class_names" not in info:
        raise ValueError(f"{str(labels)!r} contains no class names.")
    return info.get("class_ids"), info["class_names"]


def _top_classes(row: np.ndarray, names: list[str], top: int) -> list[dict[str, Any]]:
    return [
        {"class": int(number), "name": names[number], "probability": round(float(row[number]), 6)}
        for number in _ranked(row, top)
    ]


def _ranked(row: np.ndarray, top: int) -> np.ndarray:
    """Returns the indices of the most probable classes."""
    return np.argsort(-row, kind="stable")[:top]
