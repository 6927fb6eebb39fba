"""Reads single images of sets prepared by tensorflow-datasets, without TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from .errors import DataError
from .prepared import open_prepared, split_to_test
from .records import Record


class PreparedSource:
    """A split of a prepared set.

    The class names are those of the set or, if it has none, the class indices.

    Args:
        name, data_dir: as for `open_prepared`.
        test: whether to read the split to test on instead of "train".

    Raises:
        DataError: as for `open_prepared`.
    """

    def __init__(self, name: str, data_dir: str | os.PathLike[str] | None, *, test: bool) -> None:
        self._name, self._data_dir, self._test = name, data_dir, test
        self._records = self._open()
        self.class_names = tuple(self._records.dataset_info.features["label"].names)
        self._length = len(self._records)

    def __len__(self) -> int:
        return self._length

    def read(self, numbers: Sequence[int]) -> list[Record]:
        """Returns the records of these numbers; the data of a damaged record is empty.

        Raises:
            DataError: a record's label is not a class index, as in a split without labels.
        """
        if self._records is None:
            self._records = self._open()
        try:
            items = self._records.__getitems__(numbers)
        except (RuntimeError, IndexError, ValueError):  # one damaged record fails all of them
            items = [self._item(number) for number in numbers]
        return [self._record(number, item) for number, item in zip(numbers, items, strict=True)]

    def _open(self) -> Any:
        import tensorflow_datasets as tfds

        builder = open_prepared(self._name, self._data_dir)
        self._split = split_to_test(builder) if self._test else "train"
        return builder.as_data_source(self._split, decoders={"image": tfds.decode.SkipDecoding()})

    def _item(self, number: int) -> dict[str, Any] | None:
        try:
            return self._records[number]
        except (RuntimeError, IndexError, ValueError):
            return None

    def _record(self, number: int, item: dict[str, Any] | None) -> Record:
        item = item or {"image": b"", "label": 0}
        key = item.get("file_name") or item.get("file_id") or item.get("id") or b""
        key = key.decode() if isinstance(key, bytes) else key  # in some sets it is a number
        name = f"{self._name} {self._split} record {number}" + (f" ({key})" if key else "")
        if not 0 <= item["label"] < len(self.class_names):
            raise DataError(
                f"{name}: its label must be from 0 to {len(self.class_names) - 1}. Received: {item['label']}"
            )
        return Record(item["image"], int(item["label"]), name)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_records": None}  # a worker process opens its own
