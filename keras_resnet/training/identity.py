"""Whether two recipes are of the same run."""

from __future__ import annotations

from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

from ..data import absolute_path
from ..saving import model_file

# Fields that may differ between recipes of the same run: the folder of the data, and `scaled_from`, which is accounted
# for in the learning rate of a resolved recipe and is missing in older recipes. For `fingerprint`, see `changes`.
IGNORED_FIELDS = ("data_dir", "scaled_from", "fingerprint")


def changes(saved: dict[str, Any], current: dict[str, Any]) -> str:
    """Returns in words why two recipes are not of the same run; empty if they are.

    A folder of photographs is identified by the names of its images, not by its path: the path may be spelled in
    another way, and on a cluster every job may have a copy of its own. A recipe from before there were fingerprints
    only has the path. A file of initial weights is identified by its path, however it is spelled.
    """
    ignored, found = set(IGNORED_FIELDS), []
    if saved.get("fingerprint") and current.get("fingerprint"):
        ignored.add("dataset")
        if saved["fingerprint"] != current["fingerprint"]:
            found.append(f"the images of {current['dataset']} are not those that it began with")
    elif same_folder(saved.get("dataset"), current.get("dataset")):
        ignored.add("dataset")
    return ", ".join([*found, *_differences(saved, current, ignored)])


def same_folder(one: Any, other: Any) -> bool:
    """Returns whether two names of data sets are paths of the same folder of photographs, however they are spelled."""
    path = absolute_path(str(one))
    return path is not None and path == absolute_path(str(other))


def _differences(saved: dict[str, Any], current: dict[str, Any], ignored: Set[str] = frozenset()) -> Iterator[str]:
    """Yields the differences between two recipes in words."""
    for name in sorted((current.keys() | saved.keys()) - ignored):
        old, new = saved.get(name), current.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new)
        elif old != new and not (name == "weights" and old and new and _weights_file(old) == _weights_file(new)):
            yield f"{name} was {old!r}, is now {new!r}"


def _weights_file(source: str) -> Path:
    """Returns the absolute path of a file of weights, however it is given; other sources are no paths, but differ."""
    return model_file(source).resolve()
