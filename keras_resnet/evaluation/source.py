"""The images that a user points to: a picture, a folder of them, or an array."""

from __future__ import annotations

import numbers
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from ..data import SIZE, DataError, list_images, read_center, read_image, resize_to

BATCH = 64


class Source:
    """Images by name, each fitted to a network. Iterating reads them one by one, in order.

    It yields what each is called and the image, uint8 (height, width, channels); or, of a file in a folder that does
    not decode, why it is none.

    Args:
        source: an image file, a folder, or a `.npy` file of one image or of (n, height, width, channels).
        shape: (height, width, channels) of the network's images; None where it takes any.
        view: "size" and "resize" of the centre square that the network was tested on, which picture files are cut to;
            None for the largest part in the middle that has the proportions of the network's images.

    Attributes:
        names: what the images are called: a path, or path[index].

    Raises:
        ValueError: a source that is not there or holds no images, or a view of files that does not fit the network.
    """

    def __init__(
        self, source: str | Path, shape: tuple[int | None, int | None, int], view: dict[str, int] | None
    ) -> None:
        self.path, self.shape, self.view = Path(source), shape, view
        self._array = _array(self.path) if self.path.suffix == ".npy" else None
        if self._array is not None:
            self.names = [f"{self.path}[{index}]" for index in range(len(self._array))]
        else:
            check_view(shape, view)
            self.names = list(map(str, list_images(self.path))) if self.path.is_dir() else [str(self.path)]

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
        """What it is called within this source: of a folder, the path in it."""
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
    """Refuses a view that no image file can be cut to, or that gives no images of the network.

    Args:
        shape, view: as `Source` takes them.

    Raises:
        ValueError: with what was received.
    """
    if not view:
        return
    sides = [view.get("size"), view.get("resize")] if isinstance(view, Mapping) and len(view) == 2 else [None]
    if not all(isinstance(side, numbers.Integral) for side in sides) or not 1 <= sides[0] <= sides[1]:
        raise ValueError(f'`view` must have a "size" of 1 or more, and a "resize" no less. Received: {view!r}')
    if any(side not in (None, sides[0]) for side in shape[:2]):
        raise ValueError(
            f"`view` must have the size of the images that the network takes, {tuple(shape)}. Received: {view!r}"
        )


def batches(
    source: Source, work: Callable[[np.ndarray], list], progress: Iterator | None = None
) -> Iterator[tuple[str, np.ndarray | DataError, object]]:
    """Works on a source's images, many at a time.

    Args:
        source: the images.
        work: from images (n, height, width, channels) to a result an image.
        progress: `source`, perhaps behind a progress bar.

    Yields:
        What each image is called, the image or why it is none, and the result; None for one that is none.
    """
    images = iter(progress if progress is not None else source)
    while batch := list(islice(images, BATCH)):
        whole = [image for _, image in batch if not isinstance(image, DataError)]
        results = iter(work(np.stack(whole)) if whole else ())
        for name, image in batch:
            yield name, image, None if isinstance(image, DataError) else next(results)


def _array(path: Path) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise ValueError("it is an archive of arrays")
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{str(path)!r} is no array of images: {error}") from error
    if array.ndim == 3:
        array = array[None]
    if array.ndim != 4 or array.shape[-1] not in (1, 3) or not len(array):
        raise ValueError(
            f"{str(path)!r} must hold images as (n, height, width, channels) with 1 or 3 channels. "
            f"Received: {array.shape}"
        )
    if array.dtype != np.uint8:
        if array.dtype.kind == "f" and array.max() <= 1 and (array % 1).any():
            raise ValueError(f"{str(path)!r} must hold values of 0 to 255, but holds 0 to 1: multiply them by 255.")
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all() or array.min() < 0 or array.max() > 255:
            raise ValueError(f"{str(path)!r} must hold values of 0 to 255. Received: {array.dtype}")
        array = np.rint(array).astype("uint8")
    return array
