"""Classes of the data sets for which networks are published, in the order of the networks' outputs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from .datasets import DATASETS
from .errors import DataError

IMAGENET = "imagenet"


def class_names(name: str) -> tuple[str, ...]:
    """Returns one name per class.

    Args:
        name: "imagenet" for the 1,000 classes of ILSVRC 2012, or a data set that is held in memory, such as "cifar10".

    Raises:
        DataError: the name is unknown.
    """
    if name == IMAGENET:
        return _imagenet()[1]
    if name not in DATASETS:
        raise DataError(f"`name` must be {IMAGENET!r}, {', '.join(map(repr, DATASETS))}. Received: {name!r}")
    return DATASETS[name].class_names


def class_ids(name: str) -> tuple[str, ...] | None:
    """Returns one identifier per class, for ImageNet those of WordNet ("n01440764"); None for other data sets."""
    return _imagenet()[0] if name == IMAGENET else None


def class_info(classes: Sequence[str]) -> dict[str, list[str]]:
    """Returns the class information for a model file: "class_names" and, for ImageNet's identifiers, "class_ids".

    Args:
        classes: the class names of a data set. If all of them are WordNet identifiers of ImageNet's classes, as in
            imagenet2012, these are returned as "class_ids" and their English names as "class_names".
    """
    names = dict(zip(*_imagenet(), strict=True))
    if not names.keys() >= set(classes):
        return {"class_names": list(classes)}
    return {"class_names": [names[identifier] for identifier in classes], "class_ids": list(classes)}


@cache
def _imagenet() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """WordNet's identifiers and, for each, a word of its synonym set, made unique as in torchvision."""
    lines = files(__package__).joinpath("imagenet_classes.txt").read_text(encoding="utf-8").splitlines()
    ids, names = zip(*(line.split(" ", 1) for line in lines), strict=True)
    return ids, names
