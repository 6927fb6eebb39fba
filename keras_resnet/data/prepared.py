"""Sets prepared by tensorflow-datasets, opened, and read into arrays, without TensorFlow."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..saving import first_line
from .errors import DataError
from .images import decode
from .preparing import prepare

if TYPE_CHECKING:
    from tensorflow_datasets.core import DatasetBuilder, SplitInfo

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

# A name as tfds.builder takes it, without a namespace, which is a look into the network: name/config:version.
_NAME = re.compile(r"\w+(/[\w.@-]+)?(:[\d.*]+)?")
# Sets whose split "test" has no labels.
_TESTED_ON = {
    "imagenet2012": "validation",
    "imagenet2012_subset": "validation",
    "i_naturalist2017": "validation",
    "i_naturalist2018": "validation",
    "i_naturalist2021": "val",
}
_REMEDY = "Give another data_dir, or delete this folder so that the set is prepared anew."


def read_prepared(name: str, data_dir: str | os.PathLike[str] | None) -> Arrays:
    """Reads the splits "train" and "test" whole, in the order in which they are stored.

    The features "image" (fixed size, RGB) and "label" are taken. A set that is not in `data_dir` is
    downloaded and prepared there as `array_record`; one that is there in part is never touched.

    Returns:
        x_train, y_train, x_test, y_test: uint8 (N, H, W, 3) and int32 (N,).

    Raises:
        DataError: the folder does not exist, holds a set that is incomplete or damaged, or the set
            cannot be downloaded and prepared.
    """
    builder = open_prepared(name, data_dir)
    return *_read_split(builder, "train"), *_read_split(builder, "test")


class UnknownNameError(DataError):
    """No set has this name."""


def open_prepared(name: str, data_dir: str | os.PathLike[str] | None) -> DatasetBuilder:
    """Opens a set of labelled images, and prepares it first if it is not there.

    Args:
        name: as tensorflow-datasets takes it, such as "imagenet2012" or "imagenet2012:5.1.0".
        data_dir: the folder in which the set lies, or is to lie; None for tensorflow-datasets' own.

    Raises:
        UnknownNameError: tensorflow-datasets knows no such set, nor is there one in the folder.
        DataError: as `read_prepared`, or it is no set of labelled images.
    """
    if not _NAME.fullmatch(name):
        raise UnknownNameError(name)
    if data_dir is not None:
        data_dir = Path(data_dir).expanduser()
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
        builder = _builder(name, data_dir)  # which knows what is there now, whoever has prepared it
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
        raise DataError(f"{where}: the {name} there cannot be opened: {first_line(error)}") from error


def split_to_test(builder: DatasetBuilder) -> str | None:
    """The split of labelled images to test on: "test", or "validation"; None where there is neither."""
    wanted = _TESTED_ON.get(builder.name)
    return next((split for split in (wanted, "test", "validation") if split in builder.info.splits), None)


def _check_features(builder: DatasetBuilder) -> None:
    features = dict(builder.info.features or {})  # None where nothing is known of a set
    if not {"image", "label"} <= set(features) or not hasattr(features["label"], "num_classes"):
        raise DataError(
            f"{builder.name} must have the features 'image' and 'label', as imagenet2012 has. "
            f"Received: {', '.join(map(repr, sorted(features)))}"
        )


def _fault(builder: DatasetBuilder, folder: Path) -> str | None:
    """What can be said against a prepared set without reading it."""
    if not (folder / "dataset_info.json").is_file():
        return "dataset_info.json is missing, so this set was never finished"
    info = builder.info
    if info.file_format.value != "array_record":
        return f"the set must be prepared as array_record. Received: {info.file_format.value}"
    tested = split_to_test(builder)
    if "train" not in info.splits or tested is None:
        return f"the set must have the splits train, and test or validation. Received: {', '.join(sorted(info.splits))}"
    shards = [Path(path) for split in ("train", tested) for path in info.splits[split].filepaths]
    missing = [path.name for path in shards if not path.is_file()]
    if missing:
        return f"{len(missing)} of {len(shards)} shards are missing, the first is {missing[0]}"
    return None


def _read_split(builder: DatasetBuilder, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of a split. 60,000 CIFAR images take 4 s; item by item, tfds takes 7 s."""
    import tensorflow_datasets as tfds
    from tqdm import tqdm

    info = builder.info.splits[split]
    shape = builder.info.features["image"].shape
    images = np.empty((info.num_examples, *shape), np.uint8)
    labels = np.empty(info.num_examples, np.int32)
    source = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
    # disable=None: silent where stderr is not a terminal.
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


def _runs(split: SplitInfo, longest: int = 1000) -> Iterator[tuple[str, range]]:
    """A split's keys in runs that cross no shard, each with its shard's path, so that an error names it."""
    end = 0
    for path, length in zip(split.filepaths, split.shard_lengths, strict=True):
        start, end = end, end + length
        for first in range(start, end, longest):
            yield str(path), range(first, min(first + longest, end))
