"""Opens data sets by name: a row of `DATASETS` is read into memory, any other name is opened as a stream."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from .datasets import DATASETS, Dataset
from .errors import DataError
from .labelled_images import LabelledImages
from .prepared import UnknownNameError, open_prepared
from .streams import FOLDER, load_stream


def is_registered(name: str) -> bool:
    """Returns whether a data set's name is a key of `DATASETS`; any other name is that of a stream.

    Raises:
        DataError: the name is a key spelled differently, or with a version or configuration. tensorflow-datasets
            accepts "Cifar10" and "cifar10:3.0.2" for "cifar10"; opened as a stream, these would give the same images,
            but treated as photographs.
    """
    key = re.split("[/:]", name, maxsplit=1)[0].lower()
    if key in DATASETS and name != key:
        raise _unknown(name, key)
    return name in DATASETS


def load(name: str, data_dir: str | os.PathLike[str] | None = None) -> LabelledImages:
    """Opens a data set. Every call returns the same images in the same order.

    Args:
        name: a key of `DATASETS`, which is read into memory; "folder:PATH" for a folder of photographs, with one folder
            per class in PATH/train and PATH/val; or any set of labelled images in tensorflow-datasets, such as
            "imagenet2012" or "imagenet2012:5.1.0".
        data_dir: the folder in which tensorflow-datasets stores its sets; by default `TFDS_DATA_DIR`, else
            `~/tensorflow_datasets`. A set that is missing there is downloaded and prepared, which requires TensorFlow;
            reading a prepared set does not. Not used for "digits" and folders of photographs.

    Returns:
        A `Dataset` for a key of `DATASETS`, otherwise an `ImageStream`.

    Raises:
        DataError: the name is unknown, or the set can neither be read nor prepared.
    """
    with _suggesting_nearest_name(name):
        if is_registered(name):
            row = DATASETS[name]
            return Dataset(name, *row.read(data_dir), row.class_names)
        return load_stream(name, data_dir)


def make_available(name: str, data_dir: str | os.PathLike[str] | None = None) -> None:
    """Downloads and prepares a data set if it is missing, without reading its images.

    Args:
        name, data_dir: as for `load`.

    Raises:
        DataError: the name is unknown, or the set can neither be opened nor prepared.
    """
    if name.startswith(FOLDER):
        return
    with _suggesting_nearest_name(name):
        if not (is_registered(name) and DATASETS[name].embedded):
            open_prepared(name, data_dir)


@contextlib.contextmanager
def _suggesting_nearest_name(name: str) -> Iterator[None]:
    """Makes the error for a name unknown to tensorflow-datasets list the accepted names and suggest the nearest."""
    try:
        yield
    except UnknownNameError:
        import tensorflow_datasets as tfds

        if name and Path(os.path.expanduser(name)).is_dir():
            raise _unknown(name, f"{FOLDER}{name}") from None
        known = [*DATASETS, *tfds.list_builders(with_community_datasets=False)]
        nearest = difflib.get_close_matches(str(name).lower(), known, n=1)
        raise _unknown(name, *nearest) from None


def _unknown(name: str, nearest: str | None = None) -> DataError:
    hint = f". Did you mean {nearest!r}?" if nearest else ""
    return DataError(
        f"The data set must be {', '.join(map(repr, DATASETS))}, '{FOLDER}PATH', or a set of labelled images of "
        f"tensorflow-datasets, such as 'imagenet2012'. Received: {name!r}{hint}"
    )
