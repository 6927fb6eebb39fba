"""Opens sets prepared by tensorflow-datasets and reads them into arrays, without TensorFlow."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..files import first_line
from .errors import DataError
from .images import decode
from .preparing import prepare

if TYPE_CHECKING:
    from tensorflow_datasets.core import DatasetBuilder, SplitInfo

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

# name/config:version as for tfds.builder, but without a namespace, which would be looked up on the network.
_NAME = re.compile(r"\w+(/[\w.@-]+)?(:[\d.*]+)?")
# Sets whose split "test" has no labels.
_TESTED_ON = {
    "imagenet2012": "validation",
    "imagenet2012_subset": "validation",
    "i_naturalist2017": "validation",
    "i_naturalist2018": "validation",
    "i_naturalist2021": "val",
}
_LONGEST = 1000  # records that are read at once
_REMEDY = "Give another data_dir, or delete this folder so that the set is prepared again."


def read_prepared(name: str, data_dir: str | os.PathLike[str] | None) -> Arrays:
    """Reads the entire splits "train" and "test" in the order in which they are stored.

    Reads the features "image" (RGB, of a fixed size) and "label". A set that is missing in `data_dir` is downloaded and
    prepared there as `array_record`; an incomplete set is never modified.

    Returns:
        x_train, y_train, x_test, y_test: uint8 (N, H, W, 3) and int32 (N,).

    Raises:
        DataError: the folder does not exist or contains an incomplete or damaged set, or the set cannot be downloaded
            and prepared.
    """
    builder = open_prepared(name, data_dir)
    return *_read_split(builder, "train"), *_read_split(builder, "test")


class UnknownNameError(DataError):
    """The name is unknown to tensorflow-datasets."""


def open_prepared(name: str, data_dir: str | os.PathLike[str] | None) -> DatasetBuilder:
    """Opens a set of labelled images, after preparing it if it is missing.

    Args:
        name: the name in tensorflow-datasets, such as "imagenet2012" or "imagenet2012:5.1.0".
        data_dir: the folder in which the set is or will be stored; None for the default of tensorflow-datasets.

    Raises:
        UnknownNameError: the set is neither known to tensorflow-datasets nor found in the folder.
        DataError: as for `read_prepared`, or the set does not consist of labelled images.
    """
    if not _NAME.fullmatch(name):
        raise UnknownNameError(name)
    if data_dir is not None:
        data_dir = Path(os.path.expanduser(data_dir))
        if not data_dir.is_dir():
            raise DataError(
                f"{data_dir}: no such folder. Give one that holds a prepared {name}, or an existing one to prepare it "
                "in."
            )
    builder = _builder(name, data_dir)
    folder = Path(builder.data_path)
    _check_features(builder)
    if not folder.exists():
        prepare(builder, folder)
        builder = _builder(name, data_dir)  # opened again to read what was prepared, by whichever process
    if fault := _fault(builder, folder):
        raise DataError(f"{folder}: {fault}. {_REMEDY}")
    return builder


def _builder(name: str, data_dir: Path | None) -> DatasetBuilder:
    import tensorflow_datasets as tfds

    try:
        return tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError as error:
        raise UnknownNameError(name) from error
    except Exception as error:  # a damaged dataset_info.json: protobuf's error, or a bare AssertionError
        where = data_dir or "the default folder of tensorflow-datasets"
        raise DataError(f"{where}: the prepared {name} in it cannot be opened: {first_line(error)}") from error


def split_to_test(builder: DatasetBuilder) -> str | None:
    """Returns the labelled split to test on, such as "test" or "validation"; None if there is none."""
    preferred = _TESTED_ON.get(builder.name)
    return next((split for split in (preferred, "test", "validation") if split in builder.info.splits), None)


def _check_features(builder: DatasetBuilder) -> None:
    features = dict(builder.info.features or {})  # None if the set does not declare its features
    if not {"image", "label"} <= set(features) or not hasattr(features["label"], "num_classes"):
        raise DataError(
            f"{builder.name} must have the features 'image' and 'label', as imagenet2012 has. "
            f"Received: {', '.join(map(repr, sorted(features)))}"
        )


def _fault(builder: DatasetBuilder, folder: Path) -> str | None:
    """Returns what is wrong with a prepared set, as far as can be determined without reading it; None if nothing."""
    if not (folder / "dataset_info.json").is_file():
        return "dataset_info.json is missing, so the set was not prepared completely"
    info = builder.info
    if info.file_format.value != "array_record":
        return f"the set must be prepared as array_record. Received: {info.file_format.value}"
    test_split = split_to_test(builder)
    if "train" not in info.splits or test_split is None:
        return f"the set must have the splits train, and test or validation. Received: {', '.join(sorted(info.splits))}"
    shards = [Path(path) for split in ("train", test_split) for path in info.splits[split].filepaths]
    missing = [path.name for path in shards if not path.is_file()]
    if missing:
        return f"{len(missing)} of {len(shards)} shards are missing, the first is {missing[0]}"
    return None


def _read_split(builder: DatasetBuilder, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads the images and labels of a split. 60,000 CIFAR images take 4 s; reading item by item, tfds takes 7 s."""
    import tensorflow_datasets as tfds
    from tqdm import tqdm

    info = builder.info.splits[split]
    shape = builder.info.features["image"].shape
    images = np.empty((info.num_examples, *shape), np.uint8)
    labels = np.empty(info.num_examples, np.int32)
    source = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
    # disable=None: no progress bar if stderr is not a terminal.
    bar = tqdm(desc=f"Reading {builder.name} {split}", total=len(images), delay=1, leave=False, disable=None)
    with bar:
        for path, keys in _runs(info):
            try:
                records = source.__getitems__(keys)
            except (RuntimeError, IndexError, ValueError) as error:
                raise DataError(f"{path}: the shard is damaged: {first_line(error)} {_REMEDY}") from error
            for key, record in zip(keys, records, strict=True):
                image = decode(record["image"])
                if image is None or image.shape != shape:
                    raise DataError(
                        f"{path}: record {record['id'].decode()!r} (number {key} of {split}) holds no "
                        f"image of shape {shape}. {_REMEDY}"
                    )
                images[key], labels[key] = image, record["label"]
            bar.update(len(keys))
    return images, labels


def _runs(split: SplitInfo) -> Iterator[tuple[str, range]]:
    """Yields a split's keys in runs that cross no shard, each with its shard's path for error messages."""
    end = 0
    for path, length in zip(split.filepaths, split.shard_lengths, strict=True):
        start, end = end, end + length
        for first in range(start, end, _LONGEST):
            yield str(path), range(first, min(first + _LONGEST, end))
