"""Several views of each photograph: the papers' ten crops, and entire images at several scales."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from .bad_images import BAD_SHARE, BadImages
from .decoding import Window, decode_window
from .errors import DataError
from .stream_batches import Split
from .transport import prefetch
from .views import resized

STEP = 32  # the longer side of a scaled image is a multiple of this many pixels
_CHUNK = 4  # images that a thread decodes at a time

Cut = Callable[[bytes], list[np.ndarray] | None]


def five_crops(data: bytes, *, size: int, resize: int) -> list[np.ndarray] | None:
    """Returns the four corner crops and the centre crop, half of the ten-crop test (Krizhevsky et al. 2012).

    The other half are their mirror images.

    Args:
        data: an image file's bytes.
        size: the side of the crops.
        resize: the shorter side to which the image is resized before cropping.

    Returns:
        uint8 (size, size, 3) each; None if the image cannot be decoded.
    """
    image = _decode_entire(data, resize)
    if image is None:
        return None
    scale = resize / min(image.shape[:2])
    image = resized(image, *(round(scale * side) for side in image.shape[:2]))
    bottom, right = image.shape[0] - size, image.shape[1] - size
    origins = ((0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2))
    return [image[top : top + size, left : left + size] for top, left in origins]


def scaled(data: bytes, *, scales: tuple[int, ...]) -> list[np.ndarray] | None:
    """Returns the entire image at several scales, for a fully convolutional network (He et al. 2015, section 3.4).

    Args:
        data: an image file's bytes.
        scales: the shorter side of each view. The longer side is rounded to a multiple of 32 pixels, so that there are
            few different shapes.

    Returns:
        uint8 (H, W, 3) each; None if the image cannot be decoded.
    """
    image = _decode_entire(data, max(scales))
    if image is None:
        return None
    height, width = image.shape[:2]
    shapes = []
    for scale in scales:
        longer = max(scale, STEP * round(scale * max(height, width) / min(height, width) / STEP))
        shapes.append((scale, longer) if height <= width else (longer, scale))
    return [resized(image, *shape) for shape in shapes]


def _decode_entire(data: bytes, size: int) -> np.ndarray | None:
    """Decodes an entire image, at a reduced size if its shorter side remains at least `size`."""
    return decode_window(data, lambda height, width: Window(0, 0, height, width), size)


@dataclass(frozen=True, eq=False, kw_only=True)
class MultiViewBatches:
    """Several views of every image, in order.

    Iterating yields each image's label and the list of its views, uint8 (H, W, 3) each. For an image that cannot be
    decoded, the list is empty and the image is named in the log.

    Attributes:
        split: the images.
        cut: function from an image file's bytes to its views: `five_crops` or `scaled` with bound arguments.
        workers, threads: as for `prefetch`; they affect speed only.
        bad_share: the share of the images that may be undecodable; see `BadImages`.
    """

    split: Split
    cut: Cut
    workers: int = 0
    threads: int | None = None
    bad_share: float = BAD_SHARE
    bad: BadImages = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bad", BadImages(self.split.name, len(self.split), self.bad_share))

    def __len__(self) -> int:
        """The number of images."""
        return len(self.split)

    def __iter__(self) -> Iterator[tuple[int, list[np.ndarray]]]:
        chunks = -(-len(self) // _CHUNK)
        for images, bad in prefetch(self._make, 0, chunks, workers=self.workers, threads=self.threads):
            self.bad.note(bad)
            yield from images
        self.bad.report("in one pass")

    def _make(self, chunk: int) -> tuple[list[tuple[int, list[np.ndarray]]], list[str]]:
        positions = np.arange(chunk * _CHUNK, min((chunk + 1) * _CHUNK, len(self)))
        images, bad = [], []
        for record in self.split.records(positions):
            views = self.cut(record.data)
            if views is None:
                bad.append(record.name)
            images.append((record.label, views or []))
        return images, bad


def ten_crops_of(size: int, resize: int) -> Cut:
    """Returns `five_crops` with these arguments bound.

    Raises:
        DataError: the crops do not fit into the resized image.
    """
    if not 1 <= size <= resize:
        raise DataError(f"`size` must be at least 1, and `resize` at least `size`. Received: {size} and {resize}")
    return partial(five_crops, size=size, resize=resize)


def scales_of(scales: tuple[int, ...]) -> Cut:
    """Returns `scaled` with these scales bound.

    Raises:
        DataError: there are no scales, or one is below 32 pixels.
    """
    if not scales or min(scales) < STEP:
        raise DataError(f"`scales` must be one or more sizes of at least {STEP} pixels. Received: {scales}")
    return partial(scaled, scales=tuple(scales))
