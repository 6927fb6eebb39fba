"""The papers' views of photographs: which window of an image is used, and how it is resized.

A window is a pure function of the image's size and of random numbers drawn beforehand. It is chosen in the original
image, before resizing, so that only the pixels of the view are resized.
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
from .images import read_bytes, undecodable

SIZE, RESIZE = 224, 256  # the papers' test view: the side of the square crop, and the resized image's shorter side
CROPS = ("scale", "aspect_ratio")  # ways to crop training images
COLORS = ("none", "pca")  # ways to shift their colours
ATTEMPTS = 10  # random windows that the aspect-ratio crop tries before it takes the centre
DRAWS = 2 + 2 * ATTEMPTS  # random numbers that determine a window
RATIOS = (3 / 4, 4 / 3)  # lowest and highest ratio of width to height of the aspect-ratio crop

# Eigenvalues and eigenvectors (in columns) of the covariance of the RGB values, from 0 to 1, of ImageNet's training
# images, as in fb.resnet.torch. AlexNet scales them by 0.1 (Krizhevsky et al. 2012, section 4.1).
EIGENVALUES = np.array([0.2175, 0.0188, 0.0045])
EIGENVECTORS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
DEVIATION = 0.1

Draws = Sequence[float]


def scale_window(height: int, width: int, draws: Draws, *, size: int, scales: tuple[int, int]) -> Window:
    """Returns a window of the papers' scale augmentation (He et al. 2015, section 3.4; Simonyan & Zisserman 2015).

    The shorter side is resized to an integer drawn uniformly from `scales`, and a random square is cropped.

    Args:
        height, width: the size of the image.
        draws: random numbers in [0, 1) that determine the scale, the row and the column.
        size: the square's side in the resized image.
        scales: the lowest and the highest shorter side.
    """
    low, high = scales
    return _square(height, width, low + int(draws[0] * (high - low + 1)), size, draws[1:3])


def center_window(height: int, width: int, *, size: int, resize: int) -> Window:
    """Returns the window of the centre square of side `size` in the image whose shorter side is resized to `resize`."""
    return _square(height, width, resize, size, None)


def _square(height: int, width: int, shorter: int, size: int, draws: Draws | None) -> Window:
    """Maps a square of the resized image, by default the centre one, to its window in the original image."""
    scale = shorter / min(height, width)
    new_height, new_width = round(height * scale), round(width * scale)
    if draws is None:
        top, left = (new_height - size) // 2, (new_width - size) // 2
    else:
        top, left = int(draws[0] * (new_height - size + 1)), int(draws[1] * (new_width - size + 1))
    top, bottom = _span(top, size, height / new_height, height)
    left, right = _span(left, size, width / new_width, width)
    return Window(top, left, bottom - top, right - left)


def _span(first: int, size: int, scale: float, length: int) -> tuple[int, int]:
    """Returns the start and end of the pixels nearest to `size` resized pixels from `first` on; at least one pixel."""
    start = min(round(first * scale), length - 1)
    return start, max(start + 1, round((first + size) * scale))


def aspect_ratio_window(height: int, width: int, draws: Draws, *, area: tuple[float, float]) -> Window:
    """Returns a window of the scale and aspect-ratio augmentation (Szegedy et al. 2015), as in He et al. 2016, table 5.

    The window's share of the image's area is drawn uniformly, its aspect ratio log-uniformly, and its position at
    random. If ten such windows do not fit into the image, the largest centred square is used.

    Args:
        height, width: the size of the image.
        draws: `DRAWS` random numbers in [0, 1): for the row and the column, then for area and ratio of each attempt.
        area: the lowest and the highest share of the image's area.
    """
    low, high = map(math.log, RATIOS)
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
    """Returns the offsets of AlexNet's "standard colour augmentation", which are added to every pixel of an image.

    Args:
        normals: (N, 3), samples of the standard normal distribution.

    Returns:
        int (N, 3), the offsets of R, G and B on the scale of 0 to 255, rounded because pixels are integers.
    """
    components = DEVIATION * normals * EIGENVALUES
    return np.rint(255 * components @ EIGENVECTORS.T).astype(int)


def draw_view(
    out: np.ndarray,
    data: bytes,
    choose: Callable[[int, int], Window],
    *,
    flip: bool = False,
    color: Sequence[int] = (0, 0, 0),
    average: bool = False,
) -> bool:
    """Decodes a window of an image and resizes it into `out`.

    Args:
        out: uint8 (size, size, 3), contiguous; overwritten if the image can be decoded.
        data: the image file's bytes.
        choose: function from the upright image's height and width to the window.
        flip: whether to mirror left to right.
        color: offsets that are added to R, G and B; the sums are clipped to 0 to 255.
        average: whether to reduce windows by area averaging, like `resize_to`, instead of linear interpolation, which
            is several times as fast.

    Returns:
        Whether the image could be decoded.
    """
    import cv2

    size = out.shape[0]
    window = decode_window(data, choose, size)
    if window is None:
        return False
    # Rarely, decoding at reduced size is not possible and the window stays large: linear interpolation would alias.
    shrink = min(window.shape[:2]) / size
    method = cv2.INTER_AREA if shrink > 2 or (average and shrink > 1) else cv2.INTER_LINEAR
    if flip:
        cv2.flip(cv2.resize(window, (size, size), interpolation=method), 1, dst=out)
    else:
        cv2.resize(window, (size, size), dst=out, interpolation=method)
    if any(color):
        cv2.add(out, (*color, 0), dst=out)  # type: ignore[call-overload]  # it also adds one number per channel
    return True


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resizes an image as for testing: reduces it by area averaging or enlarges it by linear interpolation."""
    import cv2

    shrinks = min(image.shape[0] / height, image.shape[1] / width) > 1
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def read_center(path: str | os.PathLike[str], *, size: int, resize: int) -> np.ndarray:
    """Reads an image file as for testing: resizes the shorter side to `resize` and crops the centre square.

    Returns:
        uint8 (size, size, 3), RGB.

    Raises:
        DataError: the file cannot be read or decoded.
    """
    out = np.empty((size, size, 3), np.uint8)
    if not draw_view(out, read_bytes(path), partial(center_window, size=size, resize=resize), average=True):
        raise undecodable(path)
    return out


def default_resize(size: int) -> int:
    """Returns the shorter side to resize to before the centre crop: 256 for a crop of 224, otherwise in proportion."""
    return round(size * RESIZE / SIZE)


def default_sizes(size: int, test_size: int | None = None) -> dict[str, Any]:
    """Returns the sizes that follow from the size of the training images, all in pixels.

    For training crops of 224, the shorter side is drawn from [256, 480] (He et al. 2015, section 3.4); the range is
    proportional for other sizes.

    Args:
        size: the size of training images.
        test_size: the size of test images; None if it is the same.

    Returns:
        "first_size" (of the first epoch), "test_size", "test_resize" (the shorter side before the centre crop) and
        "scales" (the range of the shorter side in training).
    """
    test_size = test_size or size
    return {
        "first_size": size,
        "test_size": test_size,
        "test_resize": default_resize(test_size),
        "scales": (default_resize(size), round(size * 480 / SIZE)),
    }


def check_views(*, size: int, crop: str, scales: tuple[int, int], area: tuple[float, float], color: str) -> None:
    """Checks the arguments of training views.

    Raises:
        DataError: an argument is out of range or not one of the accepted names.
    """
    if size < 1:
        raise DataError(f"`size` must be at least 1. Received: {size}")
    for name, value, accepted in (("crop", crop, CROPS), ("color", color, COLORS)):
        if value not in accepted:
            raise DataError(f"`{name}` must be one of {', '.join(accepted)}. Received: {value!r}")
    if crop == "scale" and not (len(scales) == 2 and size <= scales[0] <= scales[1]):
        raise DataError(
            f"`scales` must be the lowest and the highest shorter side, from the size {size} up. Received: {scales}"
        )
    if crop == "aspect_ratio" and not (len(area) == 2 and 0 < area[0] <= area[1] <= 1):
        raise DataError(f"`area` must be the lowest and the highest share, above 0 and up to 1. Received: {area}")
