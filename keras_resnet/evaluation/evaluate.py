"""Evaluation of a network, or of an ensemble, on a data set in the papers' three ways."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from .. import saving
from ..data import SIZE, LabelledImages, absolute_path, default_resize, load, scales_of, ten_crops_of
from ..models.taps import any_size
from . import scores
from .outputs import TestOutputs, check_classifies, multi_view, shapes, single_view
from .views import Views

BATCH_IN_MEMORY, BATCH_PHOTOGRAPHS = 500, 50  # default batch sizes


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation.

    Attributes:
        result: the scores of the network or the ensemble, ready for JSON: the output of `scores.score`, and "model",
            "dataset", "dataset_path" (absolute, for a folder of photographs), "split", "view" (the views, in words),
            "bad" (the number of images that at least one network could not decode), "seconds", "images_per_second",
            "classes" (`scores.by_class`) and, for ensembles, "members" with the result of each network.
        confusion: the number of images of each class (rows) that were predicted as each class (columns).
        class_names: one name per class.
    """

    result: dict[str, Any]
    confusion: np.ndarray
    class_names: list[str]


def evaluate(
    models: str | Path | Sequence[str | Path],
    dataset: str,
    data_dir: str | Path | None = None,
    *,
    split: str = "test",
    views: Views | None = None,
    batch_size: int | None = None,
    verbose: int = 0,
) -> Evaluation:
    """Evaluates one network, or an ensemble of several, whose probabilities are averaged (2015, table 5).

    Args:
        models: one or several `.keras` files or run folders; each network receives images of its own size.
        dataset: the name of a data set. Its classes are matched by name to those of the networks.
        data_dir: the folder with the prepared sets of tensorflow-datasets.
        split: "test" or "train".
        views: which views of each image are tested; None for the centre view.
        batch_size: the number of images per batch; by default 500 for sets in memory and 50 for photographs.
        verbose: 1 for a progress bar.

    Raises:
        ValueError: a model cannot be opened or does not fit the data, the data set does not have such views, a network
            lacks classes of the data set, or the networks have different classes.
    """
    views, models = views or Views(), [models] if isinstance(models, str | Path) else models
    networks = [saving.load(path) for path in models]
    data = load(dataset, data_dir)
    if data.in_memory and replace(views, mirror=False) != Views():
        raise ValueError(f"The images of {dataset} have a fixed size; crops and scales apply to photographs only.")
    batch_size = batch_size or (BATCH_IN_MEMORY if data.in_memory else BATCH_PHOTOGRAPHS)
    for model, _ in networks:
        shapes(model)
        check_classifies(model)
    indices = [class_indices(model, info, data) for model, info in networks]
    namings = [_class_namings(info) or [list(data.class_names)] for _, info in networks]
    fullest = max(namings, key=len)
    if not all(_same_classes(naming, fullest) for naming in namings):
        raise ValueError("The networks of an ensemble must have the same classes in the same order.")
    members = []
    for (model, info), class_index in zip(networks, indices, strict=True):
        outputs = _test(model, info.get("view", {}), data, split, views, batch_size, verbose)
        members.append(replace(outputs, labels=class_index[outputs.labels]))
    ensemble = _averaged(members)
    confusion = scores.confusion(ensemble.probabilities, ensemble.labels)
    result = {
        **_scored(" + ".join(map(str, models)), ensemble),
        "dataset": dataset,
        **({"dataset_path": path} if (path := absolute_path(dataset)) else {}),
        "split": split,
        "view": str(views),
        "classes": scores.by_class(confusion, fullest[-1]),
    }
    if len(models) > 1:
        result["members"] = [_scored(str(path), outputs) for path, outputs in zip(models, members, strict=True)]
    return Evaluation(result, confusion, fullest[-1])


def _averaged(members: Sequence[TestOutputs]) -> TestOutputs:
    """Averages the outputs of an ensemble over its members, for the images that all of them could decode.

    A truncated file may contain all that the view of one network needs, but not all that another needs.
    """
    positions = functools.reduce(np.intersect1d, [outputs.positions for outputs in members])
    if not len(positions):
        raise ValueError("No image can be decoded for the views of all networks.")
    rows = [np.isin(outputs.positions, positions) for outputs in members]
    return TestOutputs(
        probabilities=np.mean([outputs.probabilities[row] for outputs, row in zip(members, rows, strict=True)], axis=0),
        labels=members[0].labels[rows[0]],
        positions=positions,
        bad=members[0].bad + len(members[0].positions) - len(positions),
        seconds=sum(outputs.seconds for outputs in members),
    )


def _scored(model: str, outputs: TestOutputs) -> dict[str, Any]:
    return {
        "model": model,
        **scores.score(outputs.probabilities, outputs.labels),
        "bad": outputs.bad,
        "seconds": round(outputs.seconds, 2),
        "images_per_second": round(len(outputs.labels) / max(outputs.seconds, 0.01), 1),
    }


def _test(
    model: keras.Model,
    trained: Mapping[str, int],
    data: LabelledImages,
    split: str,
    views: Views,
    batch_size: int,
    verbose: int,
) -> TestOutputs:
    if data.in_memory:
        batches = data.test_batches(batch_size=batch_size, split=split)
        return single_view(model, batches, mirror=views.mirror, verbose=verbose)
    if views.scales:
        images = data.multi_view(scales_of(views.scales), split=split)
        return multi_view(_for_size(model, None), images, batch_size, verbose=verbose)
    size, resize = crop_sizes(model, trained, views)
    model = _for_size(model, size)
    if views.crops == 10:
        crops = data.multi_view(ten_crops_of(size, resize), split=split)
        return multi_view(model, crops, batch_size, verbose=verbose)
    batches = data.test_batches(batch_size=batch_size, split=split, size=size, resize=resize)
    return single_view(model, batches, mirror=views.mirror, verbose=verbose)


def crop_sizes(model: keras.Model, trained: Mapping[str, int], views: Views) -> tuple[int, int]:
    """Returns the side of the crops for a network, and the shorter side of the image from which they are cropped.

    Args:
        model: the network.
        trained: the "view" in the network's file, "size" and "resize" of its centre view; empty if there is none.
        views: what the user has chosen.
    """
    size = views.size or trained.get("size") or shapes(model)[0][0] or SIZE
    trained_resize = trained.get("resize") if size == trained.get("size") else None
    return size, views.resize or trained_resize or default_resize(size)


def _for_size(model: keras.Model, size: int | None) -> keras.Model:
    """Returns the network itself if it accepts this size, otherwise the same network for images of any size."""
    return model if shapes(model)[0][0] in (None, size) else any_size(model)


def _class_namings(info: Mapping[str, Any]) -> list[list[str]]:
    """Returns the ways in which a network's file names its classes: by identifiers, by names, both, or neither."""
    return [list(info[key]) for key in ("class_ids", "class_names") if info.get(key)]


def _same_classes(one: list[list[str]], other: list[list[str]]) -> bool:
    """Returns whether two networks have the same classes: the same identifiers, or the same names if neither has any.

    If only one has identifiers, the names of the other may match either its identifiers or its names.
    """
    return one[0] == other[0] if len(one) == len(other) else any(naming in other for naming in one)


def class_indices(model: keras.Model, info: Mapping[str, Any], data: LabelledImages) -> np.ndarray:
    """Returns the network's class index for each class of the data, matched by identifier or name.

    Classes are matched by index if the network's file names none.

    Raises:
        ValueError: the network has names for its classes, but lacks some of the data's; or it has no names, and
            another number of classes than the data.
    """
    namings = _class_namings(info)
    for naming in namings:
        if set(data.class_names) <= set(naming):
            return np.array([naming.index(name) for name in data.class_names])
    if namings:
        missing = [name for name in data.class_names if name not in namings[-1]]
        raise ValueError(
            f"{model.name!r} has other classes than {data.name}: {', '.join(map(repr, missing[:3]))} "
            f"{'is' if len(missing) == 1 else 'are'} not among {', '.join(map(repr, namings[-1][:3]))}, ..."
        )
    if data.classes > (classes := shapes(model)[1]):
        raise ValueError(f"{model.name!r} has {classes} classes. Received: {data.name}, which has {data.classes}")
    if data.classes < classes:
        raise ValueError(
            f"{model.name!r} names none of its {classes:,} classes, and {data.name} has {data.classes:,}. Add names by "
            "`keras-resnet convert FILE OUT --model NAME --labels imagenet`, or with a text file instead of imagenet."
        )
    return np.arange(data.classes)
