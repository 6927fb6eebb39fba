"""A test of one network, or of several together, on a data set: the papers' three ways."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from .. import saving
from ..data import SIZE, LabelledImages, default_resize, load, scales_of, ten_crops_of, whole_path
from ..models.taps import any_size
from . import scores
from .views import TestOutputs, multi_view, shapes, single_view

CROPS = (1, 10)
IN_MEMORY, PHOTOGRAPHS = 500, 50  # images at a time


@dataclass(frozen=True, kw_only=True)
class View:
    """How images are looked at.

    Attributes:
        crops: 1 for the centre, 10 for the four corners and the centre, mirrored too (2015, table 3).
        scales: the shorter sides of whole images, mirrored too (2015, table 4); none for crops.
        size, resize: of the crops, and of the shorter side of the image that they are cut from; None for what the
            network was trained for.
        mirror: whether the mirror image of the one view counts as much as the view itself.
    """

    crops: int = 1
    scales: tuple[int, ...] = ()
    size: int | None = None
    resize: int | None = None
    mirror: bool = False

    def __post_init__(self) -> None:
        if self.crops not in CROPS:
            raise ValueError(f"`crops` must be 1 or 10. Received: {self.crops}")
        if self.scales and (self.crops != 1 or self.size or self.resize):
            raise ValueError("`scales` show whole images, so that there is nothing to say of crops.")
        if self.mirror and (self.crops != 1 or self.scales):
            raise ValueError(
                "`mirror` is for one view; ten crops and whole images at several scales are mirrored already."
            )

    def __str__(self) -> str:
        if self.scales:
            return f"scales {','.join(map(str, self.scales))}"
        look = "ten crops" if self.crops == 10 else "one view" + ", mirrored too" * self.mirror
        sizes = [f"{name} {side}" for name, side in (("size", self.size), ("resize", self.resize)) if side]
        return ", ".join([look, *sizes])


@dataclass(frozen=True)
class Evaluation:
    """What a test has found.

    Attributes:
        result: of the network, or of all together, as JSON takes it: what `scores.score` returns, and "model",
            "dataset", "dataset_path" (of a folder, absolute), "split", "view", "bad" (images that are not whole, be it
            for one network alone), "seconds", "images_per_second", "classes" (`scores.by_class`) and, of several
            networks, "members" with the result of each.
        confusion: how many images of each class (rows) were taken for each class (columns).
        class_names: a name a class.
    """

    result: dict[str, Any]
    confusion: np.ndarray
    class_names: list[str]


def evaluate(
    models: Sequence[str | Path],
    dataset: str,
    data_dir: str | Path | None = None,
    *,
    split: str = "test",
    view: View | None = None,
    batch_size: int | None = None,
    verbose: int = 0,
) -> Evaluation:
    """Tests networks; several are one ensemble, whose probabilities are averaged (2015, table 5).

    Args:
        models: `.keras` files or run folders; each sees images in its own size.
        dataset: a data set's name. Its classes are found among those of the networks by name.
        data_dir: where prepared sets of tensorflow-datasets lie.
        split: "test" or "train".
        view: how images are looked at; None for one view.
        batch_size: images at a time; by default 500 of a set in memory, and 50 photographs.
        verbose: 1 for a progress bar.

    Raises:
        ValueError: a model that cannot be opened or does not fit the data, views that the data does not have, classes
            that a network does not know, networks of different classes.
    """
    view = view or View()
    opened = [saving.load(path) for path in models]
    data = load(dataset, data_dir)
    if data.in_memory and replace(view, mirror=False) != View():
        raise ValueError(f"The images of {dataset} are seen as they are; crops and scales are for photographs.")
    batch_size = batch_size or (IN_MEMORY if data.in_memory else PHOTOGRAPHS)
    for model, _ in opened:
        shapes(model)
    placed = [class_indices(model, info, data) for model, info in opened]
    known = [_known(info) or [list(data.class_names)] for _, info in opened]
    fullest = max(known, key=len)
    if not all(_alike(own, fullest) for own in known):
        raise ValueError("Networks that are tested together must know the same classes in the same order.")
    tests = []
    for (model, info), place in zip(opened, placed, strict=True):
        tested = _test(model, info.get("view", {}), data, split, view, batch_size, verbose)
        tests.append(replace(tested, labels=place[tested.labels]))
    together = _together(tests)
    confusion = scores.confusion(together.probabilities, together.labels)
    result = {
        **_scored(" + ".join(map(str, models)), together),
        "dataset": dataset,
        **({"dataset_path": path} if (path := whole_path(dataset)) else {}),
        "split": split,
        "view": str(view),
        "classes": scores.by_class(confusion, fullest[-1]),
    }
    if len(models) > 1:
        result["members"] = [_scored(str(path), tested) for path, tested in zip(models, tests, strict=True)]
    return Evaluation(result, confusion, fullest[-1])


def _together(tests: Sequence[TestOutputs]) -> TestOutputs:
    """What networks make of a data set together: of the images that are whole for each of them.

    A file that is cut short may have all that the view of one network shows, and not that of another.
    """
    positions = functools.reduce(np.intersect1d, [tested.positions for tested in tests])
    if not len(positions):
        raise ValueError("No image is whole in the views of all networks.")
    rows = [np.isin(tested.positions, positions) for tested in tests]
    return TestOutputs(
        probabilities=np.mean([tested.probabilities[row] for tested, row in zip(tests, rows, strict=True)], axis=0),
        labels=tests[0].labels[rows[0]],
        positions=positions,
        bad=tests[0].bad + len(tests[0].positions) - len(positions),
        seconds=sum(tested.seconds for tested in tests),
    )


def _scored(model: str, tested: TestOutputs) -> dict[str, Any]:
    return {
        "model": model,
        **scores.score(tested.probabilities, tested.labels),
        "bad": tested.bad,
        "seconds": round(tested.seconds, 2),
        "images_per_second": round(len(tested.labels) / max(tested.seconds, 0.01), 1),
    }


def _test(
    model: keras.Model,
    trained: Mapping[str, int],
    data: LabelledImages,
    split: str,
    view: View,
    batch_size: int,
    verbose: int,
) -> TestOutputs:
    if data.in_memory:
        batches = data.test_batches(batch_size=batch_size, split=split)
        return single_view(model, batches, mirror=view.mirror, verbose=verbose)
    if view.scales:
        whole = data.multi_view(scales_of(view.scales), split=split)
        return multi_view(_for_size(model, None), whole, batch_size, verbose=verbose)
    size, resize = crop_of(model, trained, view)
    model = _for_size(model, size)
    if view.crops == 10:
        crops = data.multi_view(ten_crops_of(size, resize), split=split)
        return multi_view(model, crops, batch_size, verbose=verbose)
    batches = data.test_batches(batch_size=batch_size, split=split, size=size, resize=resize)
    return single_view(model, batches, mirror=view.mirror, verbose=verbose)


def crop_of(model: keras.Model, trained: Mapping[str, int], view: View) -> tuple[int, int]:
    """The side of the crops that a network is shown, and the shorter side of the image that they are cut from.

    Args:
        model: the network.
        trained: its "view", if its file has one.
        view: what its user wants.
    """
    size = view.size or trained.get("size") or shapes(model)[0][0] or SIZE
    return size, view.resize or (trained.get("resize") if size == trained.get("size") else None) or default_resize(size)


def _for_size(model: keras.Model, size: int | None) -> keras.Model:
    """The network, for images of any size if its own is another than this."""
    return model if shapes(model)[0][0] in (None, size) else any_size(model)


def _known(info: Mapping[str, Any]) -> list[list[str]]:
    """What a network's file calls its classes: by identifiers, if it has any, and by names."""
    return [list(info[key]) for key in ("class_ids", "class_names") if info.get(key)]


def _alike(one: list[list[str]], other: list[list[str]]) -> bool:
    """Whether two networks know the same classes: by identifiers, which may be the only names of one, else by names."""
    return one[0] == other[0] if len(one) == len(other) else any(own in other for own in one)


def class_indices(model: keras.Model, info: Mapping[str, Any], data: LabelledImages) -> np.ndarray:
    """Which of a network's classes each of the data's is, by identifier or name; by number where it names none.

    Raises:
        ValueError: it names classes, and not these; or it names none, and has more or fewer than the data.
    """
    known = _known(info)
    for own in known:
        if set(data.class_names) <= set(own):
            return np.array([own.index(name) for name in data.class_names])
    if known:
        foreign = [name for name in data.class_names if name not in known[-1]]
        raise ValueError(
            f"{model.name!r} knows other classes than {data.name}: {', '.join(map(repr, foreign[:3]))} "
            f"{'is' if len(foreign) == 1 else 'are'} not among {', '.join(map(repr, known[-1][:3]))}, ..."
        )
    if data.classes > (classes := shapes(model)[1]):
        raise ValueError(f"{model.name!r} has {classes} classes. Received: {data.name}, which has {data.classes}")
    if data.classes < classes:
        raise ValueError(
            f"{model.name!r} names none of its {classes:,} classes, and {data.name} has {data.classes:,}. "
            "`keras-resnet convert FILE OUT --model NAME --labels imagenet`, or a text file there, gives them names."
        )
    return np.arange(data.classes)
