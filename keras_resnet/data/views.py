"""The papers' views of photographs: which window of an image is shown, and how it is drawn.

A window is a pure function of an image's size and of numbers drawn beforehand. It is chosen in the image as it is
stored, so that no pixel is resized that is not shown.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from .decoding import Window, decode_window
from .errors import DataError
from .images import not_whole, read_bytes

SIZE, RESIZE = 224, 256  # the papers' views of photographs: a square, of the image with this shorter side
CROPS = ("scale", "aspect_ratio")  # how training images are cut
COLORS = ("none", "pca")  # how their colours are shifted
ATTEMPTS = 10  # of the scale and aspect-ratio crop, before it takes the centre
DRAWS = 2 + 2 * ATTEMPTS  # numbers a window is made of
ASPECT = (3 / 4, 4 / 3)

# Eigenvalues and eigenvectors (in columns) of the colours of ImageNet's training images, whose covariance is that of
# RGB from 0 to 1, as fb.resnet.torch has them. AlexNet scales them by 0.1 (Krizhevsky et al. 2012, section 4.1).
EIGENVALUES = np.array([0.2175, 0.0188, 0.0045])
EIGENVECTORS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
DEVIATION = 0.1

Draws = Sequence[float]


def scale_window(height: int, width: int, draws: Draws, *, size: int, scales: tuple[int, int]) -> Window:
    """The papers' scale augmentation (He et al. 2015, section 3.4; Simonyan & Zisserman 2015).

    The shorter side is resized to a whole number drawn uniformly from `scales`, and a random square is cut.

    Args:
        height, width: the image's.
        draws: from 0 to below 1: what decides the scale, the row and the column.
        size: the square's side.
        scales: the lowest and the highest shorter side.
    """
    low, high = scales
    return _square(height, width, low + int(draws[0] * (high - low + 1)), size, draws[1:3])


def center_window(height: int, width: int, *, size: int, resize: int) -> Window:
    """The centre square of side `size` of the image whose shorter side is resized to `resize`."""
    return _square(height, width, resize, size, None)


def _square(height: int, width: int, shorter: int, size: int, draws: Draws | None) -> Window:
    """Where a square of the resized image lies in the image; by default the centre one."""
    scale = shorter / min(height, width)
    tall, wide = round(height * scale), round(width * scale)
    if draws is None:
        top, left = (tall - size) // 2, (wide - size) // 2
    else:
        top, left = int(draws[0] * (tall - size + 1)), int(draws[1] * (wide - size + 1))
    (top, below), (left, beyond) = _span(top, size, height / tall, height), _span(left, size, width / wide, width)
    return Window(top, left, below - top, beyond - left)


def _span(first: int, size: int, scale: float, length: int) -> tuple[int, int]:
    """The whole pixels nearest to a span of resized ones; at least one."""
    start = min(round(first * scale), length - 1)
    return start, max(start + 1, min(round((first + size) * scale), length))


def aspect_ratio_window(
    height: int, width: int, draws: Draws, *, area: tuple[float, float], ratios: tuple[float, float] = ASPECT
) -> Window:
    """The scale and aspect-ratio augmentation (Szegedy et al. 2015), of table 5 of He et al. 2016.

    A share of the image's area, drawn uniformly, and an aspect ratio, drawn uniformly in its logarithm, make a
    window at a random place. If ten such windows do not fit the image, the largest centred square does.

    Args:
        height, width: the image's.
        draws: from 0 to below 1, `DRAWS` of them: the row and the column, then area and ratio of each attempt.
        area: the lowest and the highest share.
        ratios: the lowest and the highest width by height.
    """
    low, high = math.log(ratios[0]), math.log(ratios[1])
    for attempt in range(2, DRAWS, 2):
        target = (area[0] + draws[attempt] * (area[1] - area[0])) * height * width
        ratio = math.exp(low + draws[attempt + 1] * (high - low))
        rows, columns = round(math.sqrt(target / ratio)), round(math.sqrt(target * ratio))
        if 0 < rows <= height and 0 < columns <= width:
            top, left = int(draws[0] * (height - rows + 1)), int(draws[1] * (width - columns + 1))
            return Window(top, left, rows, columns)
    side = min(height, width)
    return Window((height - side) // 2, (width - side) // 2, side, side)


def color_offsets(normals: np.ndarray) -> np.ndarray:
    """AlexNet's "standard colour augmentation": what is added to every pixel of an image, per channel.

    Args:
        normals: (N, 3), standard normal.

    Returns:
        int (N, 3), for R, G and B from 0 to 255: whole, since the pixels are.
    """
    shares = DEVIATION * normals * EIGENVALUES
    return np.rint(255 * shares @ EIGENVECTORS.T).astype(int)


def draw_view(
    out: np.ndarray,
    data: bytes,
    choose: Callable[[int, int], Window],
    *,
    flip: bool = False,
    color: Sequence[int] = (0, 0, 0),
    average: bool = False,
) -> bool:
    """Draws an image's window into `out`.

    Args:
        out: uint8 (size, size, 3), contiguous; overwritten where the image decodes.
        data: the image file's bytes.
        choose: from the upright image's height and width to the window.
        flip: whether to mirror left and right.
        color: what to add to R, G and B; the sum is clipped to 0 to 255.
        average: whether a window that shrinks averages areas, as `resize_to` does, in place of interpolating
            linearly, which is several times as fast.

    Returns:
        Whether the image decodes.
    """
    import cv2

    size = out.shape[0]
    part = decode_window(data, choose, size)
    if part is None:
        return False
    # A photograph that no reduced decoding has brought near its size is rare, and would alias.
    shrink = min(part.shape[:2]) / size
    method = cv2.INTER_AREA if shrink > 2 or (average and shrink > 1) else cv2.INTER_LINEAR
    if flip:
        cv2.flip(cv2.resize(part, (size, size), interpolation=method), 1, dst=out)
    else:
        cv2.resize(part, (size, size), dst=out, interpolation=method)
    if any(color):
        cv2.add(out, (*color, 0), dst=out)
    return True


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resizes an image as tests see it: areas are averaged where it shrinks, else it is interpolated linearly."""
    import cv2

    shrinks = min(image.shape[0] / height, image.shape[1] / width) > 1
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def read_center(path: str | os.PathLike[str], *, size: int, resize: int) -> np.ndarray:
    """Reads an image file as a test sees it: the centre square, with the shorter side resized.

    Returns:
        uint8 (size, size, 3), RGB.

    Raises:
        DataError: the file cannot be read or is not a whole image.
    """
    out = np.empty((size, size, 3), np.uint8)
    if not draw_view(out, read_bytes(path), partial(center_window, size=size, resize=resize), average=True):
        raise not_whole(path)
    return out


def default_resize(size: int) -> int:
    """The shorter side of which the centre is tested: 256 for the papers' 224, and in proportion for other sizes."""
    return round(size * RESIZE / SIZE)


def default_sizes(size: int, test_size: int | None = None) -> dict[str, Any]:
    """What follows from the size of training images: their first size, the test images', and the resizing, in pixels.

    He et al. 2015, section 3.4: for a cut of 224 the shorter side is drawn from [256, 480]; for others in proportion.

    Args:
        size: of training images.
        test_size: of test images, where it is another.
    """
    test_size = test_size or size
    return {
        "first_size": size,
        "test_size": test_size,
        "test_resize": default_resize(test_size),
        "scales": (default_resize(size), round(size * 480 / SIZE)),
    }


def check_views(*, size: int, crop: str, scales: tuple[int, int], area: tuple[float, float], color: str) -> None:
    """Refuses what makes no training views.

    Raises:
        DataError: an argument is out of its range, or none of the accepted names.
    """
    if size < 1:
        raise DataError(f"`size` must be at least 1. Received: {size}")
    for name, value, accepted in (("crop", crop, CROPS), ("color", color, COLORS)):
        if value not in accepted:
            raise DataError(f"`{name}` must be one of {', '.join(accepted)}. Received: {value!r}")
    if crop == "scale" and not (len(scales) == 2 and size <= scales[0] <= scales[1]):
        raise DataError(
            f"`scales` must be a lowest and a highest shorter side, from the size {size} up. Received: {scales}"
        )
    if crop == "aspect_ratio" and not (len(area) == 2 and 0 < area[0] <= area[1] <= 1):
        raise DataError(f"`area` must be a lowest and a highest share, above 0 and up to 1. Received: {area}")
