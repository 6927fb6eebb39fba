"""Files of features that are written row by row: arrays and tables larger than memory."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self
from zipfile import ZipFile

import numpy as np

from ..saving import PARTIAL

ROWS = 8192  # of a table that are written together
BUFFER = 2**20  # bytes of an array that are written together


class ArrayFile:
    """A `.npy` file, float32 (rows, length), which grows by a row at a time.

    Args:
        path: the file.
        lengths: of the rows, by the name of their one tap.
    """

    def __init__(self, path: Path, lengths: Mapping[str, int]) -> None:
        ((self._name, self._length),) = lengths.items()
        self._rows = 0
        self._file = io.BufferedWriter(io.FileIO(path, "w"), BUFFER)
        self._write_header()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        with self._file:
            self._file.seek(0)
            self._write_header()

    def append(self, image: str, row: Mapping[str, np.ndarray]) -> None:
        """Adds the row of an image, a vector a tap."""
        self._file.write(np.ascontiguousarray(row[self._name], "<f4").tobytes())
        self._rows += 1

    def _write_header(self) -> None:
        """Of the same size for any number of rows: NumPy pads it for arrays that grow."""
        shape = (self._rows, self._length)
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)


class Archive:
    """A `.npz` file of an array a tap, and of the images' names as "image".

    Args:
        path: the file.
        lengths: of the rows, by tap.
    """

    def __init__(self, path: Path, lengths: Mapping[str, int]) -> None:
        self._names: list[str] = []
        with ExitStack() as until_the_end:
            self._archive = until_the_end.enter_context(ZipFile(path, "w", allowZip64=True))
            # Beside the file, since it may be larger than what the system has for temporary ones.
            folder = until_the_end.enter_context(tempfile.TemporaryDirectory(dir=path.parent, prefix=PARTIAL))
            self._paths = {tap: Path(folder) / f"{number}.npy" for number, tap in enumerate(lengths)}
            self._arrays = {tap: ArrayFile(self._paths[tap], {tap: length}) for tap, length in lengths.items()}
            self._until_the_end = until_the_end.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, *_: Any) -> None:
        with self._until_the_end:
            for array in self._arrays.values():
                array.__exit__()
            if kind is None:
                with self._archive.open("image.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.array(self._names))
                for tap, path in self._paths.items():
                    self._archive.write(path, f"{tap}.npy")

    def append(self, image: str, row: Mapping[str, np.ndarray]) -> None:
        """Adds the row of an image, a vector a tap."""
        self._names.append(image)
        for array in self._arrays.values():
            array.append(image, row)


class Table:
    """A `.parquet` file of a row an image: its name as "image", and a column of vectors a tap.

    Args:
        path: the file.
        lengths: of the vectors, by tap.
    """

    def __init__(self, path: Path, lengths: Mapping[str, int]) -> None:
        import pyarrow
        from pyarrow import parquet

        vectors = {tap: pyarrow.list_(pyarrow.float32(), length) for tap, length in lengths.items()}
        self._schema = pyarrow.schema({"image": pyarrow.string(), **vectors})
        self._writer = parquet.ParquetWriter(path, self._schema)
        self._names: list[str] = []
        self._rows: dict[str, list[np.ndarray]] = {tap: [] for tap in lengths}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, *_: Any) -> None:
        with self._writer:
            if kind is None:
                self._write_rows()

    def append(self, image: str, row: Mapping[str, np.ndarray]) -> None:
        """Adds the row of an image, a vector a tap."""
        self._names.append(image)
        for tap, rows in self._rows.items():
            rows.append(row[tap])
        if len(self._names) == ROWS:
            self._write_rows()

    def _write_rows(self) -> None:
        """Writes the rows since the last time, as a row group."""
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


WRITERS = {".npy": ArrayFile, ".npz": Archive, ".parquet": Table}
