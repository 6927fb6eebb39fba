"""Images from disk, for prediction. OpenCV decodes and resizes; its global settings are left alone."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from .errors import DataError

EXTENSIONS = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


def decode(data: bytes) -> np.ndarray | None:
    """Decodes an image file's bytes to RGB, uint8 (H, W, 3), or returns None where that is impossible."""
    import cv2

    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:  # no bytes at all, or a header that claims more than 2^30 pixels
        return None


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads an image file.

    Grey, CMYK and 16-bit images become 8-bit RGB, transparency is dropped, and the image is turned upright
    as its EXIF orientation says.

    Returns:
        uint8 (H, W, 3), RGB, 0 to 255.

    Raises:
        DataError: the file is missing, is a folder, cannot be opened or is not a whole image.
    """
    image = decode(read_bytes(path))
    if image is None:
        raise not_whole(path)
    return image


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Reads a file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error


def not_whole(path: str | os.PathLike[str]) -> DataError:
    """What to raise of a file that does not decode."""
    return DataError(f"{path}: not a whole image. Accepted: {', '.join(EXTENSIONS)}")


def resize_to(image: np.ndarray, height: int, width: int, channels: int) -> np.ndarray:
    """Fits an image to a network's input.

    The largest centred part that has the target's aspect ratio is resized, which is the papers' way of
    resizing the shorter side and cutting the centre, but never makes more than the pixels asked for.
    Shrinking averages areas, enlarging interpolates with cubics.

    Args:
        image: uint8 (H, W, 3) in RGB, or (H, W, 1).
        height, width: the size to return, in pixels.
        channels: 3 or 1. Grey is repeated; RGB becomes its luma (ITU-R BT.601).

    Returns:
        uint8 (height, width, channels).

    Raises:
        ValueError: `image` or `channels` is none of these.
    """
    import cv2

    if image.ndim != 3 or image.shape[-1] not in (1, 3) or channels not in (1, 3):
        raise ValueError(
            "`image` must have the shape (H, W, 3) or (H, W, 1), and `channels` must be 3 or 1. "
            f"Received: {image.shape} and {channels}"
        )
    rows, columns = image.shape[:2]
    scale = min(rows / height, columns / width)  # source pixels a target pixel
    kept_rows, kept_columns = max(1, round(scale * height)), max(1, round(scale * width))
    top, left = (rows - kept_rows) // 2, (columns - kept_columns) // 2
    part = image[top : top + kept_rows, left : left + kept_columns]
    method = cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC
    resized = cv2.resize(part, (width, height), interpolation=method)
    if image.shape[-1] == 3 and channels == 1:
        resized = cv2.cvtColor(resized, cv2.COLOR_RGB2GRAY)
    elif image.shape[-1] == 1 and channels == 3:
        resized = cv2.cvtColor(resized, cv2.COLOR_GRAY2RGB)
    return resized.reshape(height, width, channels)  # OpenCV drops a single channel's axis


def list_images(folder: str | os.PathLike[str]) -> list[Path]:
    """Lists the image files in a folder and the folders beneath it, sorted by path.

    An image is a file whose name ends in one of `EXTENSIONS`, in small or capital letters. What is hidden, by a name
    that begins with a dot, is passed over.

    Raises:
        DataError: the folder does not exist or holds no image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    found = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in EXTENSIONS
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not found:
        raise DataError(f"{folder}: no image in this folder. Accepted: {', '.join(EXTENSIONS)}")
    return sorted(found)
