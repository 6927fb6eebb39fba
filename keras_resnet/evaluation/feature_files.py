"""Feature files that are written row by row, for arrays and tables that do not fit into memory."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self
from zipfile import ZipFile

import numpy as np

from ..files import partial_prefix, printable

ROWS = 8192  # rows per row group of a table
BUFFER = 2**20  # size of the write buffer of an array, in bytes


class ArrayFile:
    """A `.npy` file, float32 (rows, length), to which single rows are appended.

    Args:
        path: the file.
        lengths: the length of the rows, under the name of their only tap.
    """

    def __init__(self, path: Path, lengths: Mapping[str, int]) -> None:
        ((self._name, self._length),) = lengths.items()
        self._rows = 0
        self._file = path.open("wb", BUFFER)
        self._write_header()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        with self._file:
            self._file.seek(0)
            self._write_header()

    def append(self, image: str, row: Mapping[str, np.ndarray]) -> None:
        """Appends the features of an image, one vector per tap."""
        self._file.write(np.ascontiguousarray(row[self._name], "<f4").tobytes())
        self._rows += 1

    def _write_header(self) -> None:
        """Writes the header, whose size is independent of the number of rows: NumPy pads it for growing arrays."""
        shape = (self._rows, self._length)
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)


class Archive:
    """A `.npz` file of one array per tap, and of the names of the images as "image".

    Args:
        path: the file.
        lengths: the length of the rows, by tap.
    """

    def __init__(self, path: Path, lengths: Mapping[str, int]) -> None:
        self._names: list[str] = []
        with ExitStack() as resources:
            self._archive = resources.enter_context(ZipFile(path, "w", allowZip64=True))
            # Beside the file, since the arrays may be too large for the system's folder of temporary files.
            folder = resources.enter_context(tempfile.TemporaryDirectory(dir=path.parent, prefix=partial_prefix()))
            self._paths = {tap: Path(folder) / f"{number}.npy" for number, tap in enumerate(lengths)}
            self._arrays = {tap: ArrayFile(self._paths[tap], {tap: length}) for tap, length in lengths.items()}
            self._resources = resources.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, *_: Any) -> None:
        with self._resources:
            for array in self._arrays.values():
                array.__exit__()
            if kind is None:
                with self._archive.open("image.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.array(self._names))
                for tap, path in self._paths.items():
                    self._archive.write(path, f"{tap}.npy")

    def append(self, image: str, row: Mapping[str, np.ndarray]) -> None:
        """Appends the features of an image, one vector per tap."""
        self._names.append(image)
        for array in self._arrays.values():
            array.append(image, row)


class Table:
    """A `.parquet` file of one row per image: its name as "image", and one column of vectors per tap.

    Args:
        path: the file.
        lengths: the length of the vectors, by tap.
    """

    def __init__(self, path: Path, lengths: Mapping[str, int]) -> None:
        import pyarrow
        from pyarrow import parquet

        vectors = {tap: pyarrow.list_(pyarrow.float32(), length) for tap, length in lengths.items()}
        self._schema = pyarrow.schema({"image": pyarrow.string(), **vectors})
        self._file = path.open("wb")  # PyArrow itself opens no file whose name is not UTF-8
        self._writer = parquet.ParquetWriter(self._file, self._schema)
        self._names: list[str] = []
        self._rows: dict[str, list[np.ndarray]] = {tap: [] for tap in lengths}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, *_: Any) -> None:
        with self._file, self._writer:
            if kind is None:
                self._write_rows()

    def append(self, image: str, row: Mapping[str, np.ndarray]) -> None:
        """Appends the features of an image, one vector per tap."""
        self._names.append(printable(image))  # the format has no other text than UTF-8
        for tap, rows in self._rows.items():
            rows.append(row[tap])
        if len(self._names) == ROWS:
            self._write_rows()

    def _write_rows(self) -> None:
        """Writes the rows that have accumulated as a row group."""
        import pyarrow

        if not self._names:
            return
        columns = [pyarrow.array(self._names)]
        for rows in self._rows.values():
            values = np.stack(rows)
            columns.append(pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(values.ravel()), values.shape[1]))
            rows.clear()
        self._writer.write_table(pyarrow.table(columns, schema=self._schema))
        self._names.clear()


WRITERS: dict[str, type[ArrayFile | Archive | Table]] = {".npy": ArrayFile, ".npz": Archive, ".parquet": Table}
