"""The classes of the data sets that networks are published for, in the order of the networks' outputs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from .datasets import DATASETS
from .errors import DataError

IMAGENET = "imagenet"


def class_names(name: str) -> tuple[str, ...]:
    """A name a class.

    Args:
        name: "imagenet", for ILSVRC 2012's 1,000 classes, or a data set that is held in memory, such as "cifar10".

    Raises:
        DataError: it is another.
    """
    if name == IMAGENET:
        return _imagenet()[1]
    if name not in DATASETS:
        raise DataError(f"`name` must be {IMAGENET!r}, {', '.join(map(repr, DATASETS))}. Received: {name!r}")
    return DATASETS[name].class_names


def class_ids(name: str) -> tuple[str, ...] | None:
    """An identifier a class: ImageNet's are WordNet's ("n01440764"); None for other sets, which have none."""
    return _imagenet()[0] if name == IMAGENET else None


def class_info(classes: Sequence[str]) -> dict[str, list[str]]:
    """What a model file says of its classes: "class_names" and, where ImageNet's are called by them, "class_ids".

    Args:
        classes: what a data set calls them: some of ImageNet's by their identifiers, as imagenet2012 does, or others.
    """
    names = dict(zip(*_imagenet(), strict=True))
    if not names.keys() >= set(classes):
        return {"class_names": list(classes)}
    return {"class_names": [names[own] for own in classes], "class_ids": list(classes)}


@cache
def _imagenet() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """WordNet's identifiers and, for each, a word of its synonym set, made unique as torchvision has it."""
    lines = files(__package__).joinpath("imagenet_classes.txt").read_text(encoding="utf-8").splitlines()
    ids, names = zip(*(line.split(" ", 1) for line in lines), strict=True)
    return ids, names
