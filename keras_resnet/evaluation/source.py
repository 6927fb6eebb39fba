"""Images given by the user: an image file, a folder of image files, or an array."""

from __future__ import annotations

import numbers
import tokenize
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ..data import SIZE, DataError, evenly_spaced, list_images, read_center, read_image, resize_to

BATCH = 64


class Source:
    """Named images, each resized and cropped to the input of a network.

    Iterating reads the images one by one, in order, and yields the name and the image, uint8 (height, width, channels).
    For a file in a folder that cannot be decoded, it yields the error instead of the image.

    Args:
        source: an image file, a folder, or a `.npy` file of one image or of (n, height, width, channels).
        shape: (height, width, channels) of the network's input; height and width are None if it accepts any.
        view: "size" and "resize" of the centre square that the network was tested on, to which image files are cropped;
            None for the largest centred part with the aspect ratio of the network's input.
        at_most: the maximum number of images; if there are more, evenly spaced ones are taken, since a folder of class
            folders is sorted by class. None for all.

    Attributes:
        names: the names of the images: a path, or path[index].

    Raises:
        ValueError: the source does not exist or contains no images, or the view does not fit the network.
    """

    def __init__(
        self,
        source: str | Path,
        shape: tuple[int | None, int | None, int],
        view: dict[str, int] | None,
        at_most: int | None = None,
    ) -> None:
        self.path, self.shape, self.view = Path(source), shape, view
        self._array = _load_array(self.path) if self.path.suffix == ".npy" else None
        if self._array is not None:
            self.names = [f"{self.path}[{index}]" for index in range(len(self._array))]
        else:
            check_view(shape, view)
            self.names = list(map(str, list_images(self.path))) if self.path.is_dir() else [str(self.path)]
        if at_most is not None:
            positions = evenly_spaced(at_most, len(self.names))
            self.names = [self.names[position] for position in positions]
            self._array = None if self._array is None else self._array[positions]

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[tuple[str, np.ndarray | DataError]]:
        for index, name in enumerate(self.names):
            try:
                image: np.ndarray | DataError = self._read(index)
            except DataError as error:
                if not self.path.is_dir():
                    raise
                image = error
            yield name, image

    def short_name(self, name: str) -> str:
        """Returns an image's path relative to the folder that is the source, otherwise its file name."""
        return str(Path(name).relative_to(self.path)) if self.path.is_dir() else Path(name).name

    def _read(self, index: int) -> np.ndarray:
        height, width, channels = self.shape
        if self._array is not None:
            image = self._array[index]
            return resize_to(image, height or image.shape[0], width or image.shape[1], channels)
        path = Path(self.names[index])
        if self.view:
            side = self.view["size"]
            return resize_to(read_center(path, **self.view), side, side, channels)
        return resize_to(read_image(path), height or SIZE, width or SIZE, channels)


def check_view(shape: Sequence[int | None], view: Mapping[str, int] | None) -> None:
    """Checks that a view is valid and has the size of the network's input.

    Args:
        shape, view: as for `Source`.

    Raises:
        ValueError: the view is invalid or has another size.
    """
    if not view:
        return
    size, resize = (view.get("size"), view.get("resize")) if isinstance(view, Mapping) and len(view) == 2 else (0, 0)
    if not (isinstance(size, numbers.Integral) and isinstance(resize, numbers.Integral) and 1 <= size <= resize):
        raise ValueError(
            f'`view` must have a "size" of at least 1 and a "resize" of at least "size". Received: {view!r}'
        )
    if any(side not in (None, size) for side in shape[:2]):
        raise ValueError(f"`view` must have the size of the network's input, {tuple(shape)}. Received: {view!r}")


def batches(
    images: Iterable[tuple[str, np.ndarray | DataError]], work: Callable[[np.ndarray], list[Any]]
) -> Iterator[tuple[str, np.ndarray | DataError, Any]]:
    """Applies a function to the images of a source, batch by batch.

    Args:
        images: a `Source`, perhaps within a progress bar.
        work: function from images (n, height, width, channels) to a list of one result per image.

    Yields:
        The name of each image, the image or the error, and the result, which is None in case of an error.
    """
    remaining = iter(images)
    while batch := list(islice(remaining, BATCH)):
        decoded = [image for _, image in batch if not isinstance(image, DataError)]
        results = iter(work(np.stack(decoded)) if decoded else ())
        for name, image in batch:
            yield name, image, None if isinstance(image, DataError) else next(results)


def _load_array(path: Path) -> np.ndarray:
    """Reads images from a `.npy` file as uint8 (n, height, width, channels)."""
    try:
        array = np.load(path, allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise ValueError("it is an archive of arrays")
    except (OSError, ValueError, EOFError, tokenize.TokenError, zipfile.BadZipFile) as error:
        raise ValueError(f"{str(path)!r} is not an array of images: {error}") from error
    if array.ndim not in (3, 4) or array.shape[-1] not in (1, 3) or not array.size:
        raise ValueError(
            f"{str(path)!r} must hold images as (n, height, width, channels) with 1 or 3 channels, or one image. "
            f"Received: {array.shape}"
        )
    if array.ndim == 3:
        array = array[None]
    if array.dtype != np.uint8:
        if array.dtype.kind == "f" and array.max() <= 1 and (array % 1).any():
            raise ValueError(f"{str(path)!r} must hold values of 0 to 255, but holds 0 to 1: multiply them by 255.")
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all() or array.min() < 0 or array.max() > 255:
            values = f" from {array.min():g} to {array.max():g}" if array.dtype.kind in "fiu" else ""
            raise ValueError(f"{str(path)!r} must hold values of 0 to 255. Received: {array.dtype}{values}")
        array = np.rint(array).astype("uint8")
    return array
