"""Photographs seen more than once: the papers' ten crops, and whole ones at several scales."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from .bad_images import BAD_SHARE, BadImages
from .decoding import Window, decode_window
from .errors import DataError
from .stream_batches import Side
from .transport import ahead
from .views import resized

STEP = 32  # pixels, of which the longer side of a scaled image is a multiple
_CHUNK = 4  # images made at a time by one thread

Cut = Callable[[bytes], list[np.ndarray] | None]


def five_crops(data: bytes, *, size: int, resize: int) -> list[np.ndarray] | None:
    """The four corners and the centre of an image, whose mirror images make ten (Krizhevsky et al. 2012).

    Args:
        data: an image file's bytes.
        size: the side of the crops.
        resize: the shorter side of the image that they are cut from.

    Returns:
        uint8 (size, size, 3) each; None where the image does not decode.
    """
    image = _whole(data, resize)
    if image is None:
        return None
    scale = resize / min(image.shape[:2])
    image = resized(image, *(round(scale * side) for side in image.shape[:2]))
    bottom, right = image.shape[0] - size, image.shape[1] - size
    places = ((0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2))
    return [image[top : top + size, left : left + size] for top, left in places]


def scaled(data: bytes, *, scales: tuple[int, ...]) -> list[np.ndarray] | None:
    """A whole image at several scales, for a fully convolutional network (He et al. 2015, section 3.4).

    Args:
        data: an image file's bytes.
        scales: the shorter side of each. The longer side is rounded to a multiple of 32 pixels, so that images of
            many shapes come in few.

    Returns:
        uint8 (H, W, 3) each; None where the image does not decode.
    """
    image = _whole(data, max(scales))
    if image is None:
        return None
    height, width = image.shape[:2]
    shapes = []
    for scale in scales:
        longer = max(scale, STEP * round(scale * max(height, width) / min(height, width) / STEP))
        shapes.append((scale, longer) if height <= width else (longer, scale))
    return [resized(image, *shape) for shape in shapes]


def _whole(data: bytes, size: int) -> np.ndarray | None:
    """The image, decoded small where its shorter side stays at least so long."""
    return decode_window(data, lambda height, width: Window(0, 0, height, width), size)


@dataclass(frozen=True, eq=False, kw_only=True)
class MultiViewBatches:
    """Every image once, in order, as several views.

    Iterating yields an image's label and its views, uint8 (H, W, 3) each; an image that is not whole has none, and is
    named in the log.

    Attributes:
        side: the images.
        cut: from an image file's bytes to its views: `five_crops` or `scaled` with their arguments.
        workers, threads: as `ahead` takes them; of speed alone.
        bad_share: the share of the images that may be bad, see `BadImages`.
    """

    side: Side
    cut: Cut
    workers: int = 0
    threads: int | None = None
    bad_share: float = BAD_SHARE
    bad: BadImages = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bad", BadImages(self.side.where, len(self.side), self.bad_share))

    def __len__(self) -> int:
        """The number of images."""
        return len(self.side)

    def __iter__(self) -> Iterator[tuple[int, list[np.ndarray]]]:
        chunks = -(-len(self) // _CHUNK)
        for seen, bad in ahead(self._make, 0, chunks, workers=self.workers, threads=self.threads):
            self.bad.note(bad)
            yield from seen
        self.bad.report("tested")

    def _make(self, chunk: int) -> tuple[list[tuple[int, list[np.ndarray]]], list[str]]:
        positions = np.arange(chunk * _CHUNK, min((chunk + 1) * _CHUNK, len(self)))
        seen, bad = [], []
        for record in self.side.records(positions):
            views = self.cut(record.data)
            if views is None:
                bad.append(record.name)
            seen.append((record.label, views or []))
        return seen, bad


def ten_crops_of(size: int, resize: int) -> Cut:
    """`five_crops`, of this size.

    Raises:
        DataError: the crops do not fit.
    """
    if not 1 <= size <= resize:
        raise DataError(f"`size` must be at least 1, and `resize` at least `size`. Received: {size} and {resize}")
    return partial(five_crops, size=size, resize=resize)


def scales_of(scales: tuple[int, ...]) -> Cut:
    """`scaled`, to these scales.

    Raises:
        DataError: there is none, or one below 32 pixels.
    """
    if not scales or min(scales) < STEP:
        raise DataError(f"`scales` must be one or more, from {STEP} pixels up. Received: {scales}")
    return partial(scaled, scales=tuple(scales))
