"""Reads single images from disk, for prediction. OpenCV decodes and resizes; its global settings are not changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np

from .errors import DataError

EXTENSIONS = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


def decode(data: bytes) -> np.ndarray | None:
    """Decodes an image file's bytes to RGB, uint8 (H, W, 3); returns None if they cannot be decoded."""
    import cv2

    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:  # empty data, or a header that claims more than 2^30 pixels
        return None


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads an image file as 8-bit RGB.

    Grey, CMYK and 16-bit images are converted, transparency is dropped, and the image is rotated upright according to
    its EXIF orientation.

    Returns:
        uint8 (H, W, 3), RGB, 0 to 255.

    Raises:
        DataError: the file is missing, is a folder, or cannot be opened or decoded.
    """
    image = decode(read_bytes(path))
    if image is None:
        raise undecodable(path)
    return image


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Returns the contents of a file.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error


def undecodable(path: str | os.PathLike[str]) -> DataError:
    """Returns the error to raise for a file that cannot be decoded."""
    return DataError(f"{path}: cannot be decoded as an image. Accepted: {', '.join(EXTENSIONS)}")


def resize_to(image: np.ndarray, height: int, width: int, channels: int) -> np.ndarray:
    """Crops and resizes an image to the input size of a network.

    The largest centred part with the target's aspect ratio is resized. This is equivalent to the papers' resizing of
    the shorter side followed by a centre crop, but computes only the pixels that are returned. Images are reduced by
    area averaging and enlarged by bicubic interpolation.

    Args:
        image: uint8 (H, W, 3) in RGB, or (H, W, 1).
        height, width: the size to return, in pixels.
        channels: 3 or 1. Grey images are repeated to 3 channels; RGB images are reduced to their luma (ITU-R BT.601).

    Returns:
        uint8 (height, width, channels).

    Raises:
        ValueError: `image` has another shape, or `channels` is neither 3 nor 1.
    """
    import cv2

    if image.ndim != 3 or image.shape[-1] not in (1, 3) or channels not in (1, 3):
        raise ValueError(
            "`image` must have the shape (H, W, 3) or (H, W, 1), and `channels` must be 3 or 1. "
            f"Received: {image.shape} and {channels}"
        )
    rows, columns = image.shape[:2]
    scale = min(rows / height, columns / width)  # source pixels per target pixel
    crop_rows, crop_columns = max(1, round(scale * height)), max(1, round(scale * width))
    top, left = (rows - crop_rows) // 2, (columns - crop_columns) // 2
    crop = image[top : top + crop_rows, left : left + crop_columns]
    method = cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC
    resized = cv2.resize(crop, (width, height), interpolation=method)
    if image.shape[-1] == 3 and channels == 1:
        resized = cv2.cvtColor(resized, cv2.COLOR_RGB2GRAY)
    elif image.shape[-1] == 1 and channels == 3:
        resized = cv2.cvtColor(resized, cv2.COLOR_GRAY2RGB)
    return resized.reshape(height, width, channels)  # OpenCV drops the axis of a single channel


def list_images(folder: str | os.PathLike[str]) -> list[Path]:
    """Lists the image files in a folder and its subfolders, sorted by path.

    A link to a file that is missing is listed, so that its image is reported.

    Raises:
        DataError: the folder does not exist or contains no images.
        OSError: a folder cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    paths = (Path(parent, name) for parent, names in walk_images(folder) for name in names)
    images = [path for path in paths if path.is_file() or path.is_symlink()]
    if not images:
        raise DataError(f"{folder}: no image in this folder. Accepted: {', '.join(EXTENSIONS)}")
    return sorted(images)


def walk_images(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Yields a folder and its subfolders, each with the names of its images.

    An image is a file whose name ends in one of `EXTENSIONS`, in upper or lower case. Hidden files and folders, whose
    names begin with a dot, are skipped. The files are not inspected, since there may be a million. Links to folders are
    followed, except to a folder on the path to the link, which would never end.

    Raises:
        OSError: a folder cannot be read.
    """
    # By default, folders that are unreadable or links are left out.
    for parent, subfolders, files in os.walk(folder, onerror=_raise, followlinks=True):
        subfolders[:] = [name for name in subfolders if not (name.startswith(".") or _leads_back(Path(parent, name)))]
        yield parent, [name for name in files if name.lower().endswith(EXTENSIONS) and not name.startswith(".")]


def _leads_back(folder: Path) -> bool:
    """Returns whether a folder is a link to one of the folders on the path to it."""
    return folder.is_symlink() and folder.resolve() in {parent.resolve() for parent in folder.parents}


def _raise(error: OSError) -> NoReturn:
    raise error
