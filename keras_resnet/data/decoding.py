"""Decodes only the part of an image that a window needs, since decoding takes most of the time of a stream.

A JPEG is decoded at a half, a quarter or an eighth of its size if the window is reduced at least as much, and only down
to the window's last row. OpenCV supports the former; for the latter, the height in the file's header is lowered.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from functools import cache
from typing import Literal, NamedTuple

import numpy as np

from .images import decode

_START, _END = b"\xff\xd8", b"\xff\xd9"
# Replaces the end marker. The decoder reads a few bytes ahead, and these satisfy it. If the data ends before the image
# does, the decoder runs out of bytes and fails; at an end marker it would fill the rest with grey and warn on stderr.
_PADDING = bytes(16)


class Window(NamedTuple):
    """A rectangle of an upright image, in pixels."""

    top: int
    left: int
    height: int
    width: int


class Header(NamedTuple):
    """The header of a JPEG file.

    Attributes:
        height, width: the size of the stored image, before rotation.
        height_offset: the position of the height field in the file.
        scan_offset: the position of the first scan in the file.
        block_height: the number of rows in a row of blocks; the height can be lowered to a multiple of it.
        sequential: whether a single scan contains the entire image from top to bottom, unlike in progressive files.
        restarts: whether there are restart markers within the data.
        multi_picture: whether further images may follow the first (the multi-picture format of cameras).
        orientation: the EXIF orientation, 1 to 8; from 5 on, height and width are swapped.
    """

    height: int
    width: int
    height_offset: int
    scan_offset: int
    block_height: int
    sequential: bool
    restarts: bool
    multi_picture: bool
    orientation: int


def decode_window(data: bytes, choose: Callable[[int, int], Window], size: int) -> np.ndarray | None:
    """Decodes the part of an image that lies within a window.

    Args:
        data: an image file's bytes.
        choose: function from the upright image's height and width to the window.
        size: the side in pixels to which the window will be resized. The result is never smaller, unless the window is.

    Returns:
        uint8 (H, W, 3), RGB, upright; None if the data cannot be decoded. If the image was decoded at a reduced size,
        the result matches the window to within one pixel of that size. Grey, CMYK and 16-bit images become 8-bit RGB,
        as in `read_image`. A JPEG may lack its end marker, but no data of the decoded rows. Damage that does not
        shorten the data is not detected and is visible in the result.
    """
    if data[:2] != _START:
        return _decode_entire(data, choose)
    header = read_header(data)
    if header is None:
        return None
    swapped = header.orientation > 4
    height, width = (header.width, header.height) if swapped else (header.height, header.width)
    window = choose(height, width)
    shrink = next((n for n in (8, 4, 2) if min(window.height, window.width) >= n * size), 1)
    rows = _rows_to_decode(header, window, shrink)
    image = _decode_jpeg(data, header, rows, shrink)
    if image is None:
        return None
    expected = -(-(rows if rows < header.height else height) // shrink), -(-width // shrink)
    if image.shape[:2] != expected:  # OpenCV has interpreted the orientation or the header differently
        return _decode_entire(data, choose)
    return _crop(image, window, shrink)


def _decode_entire(data: bytes, choose: Callable[[int, int], Window]) -> np.ndarray | None:
    _silence_opencv()
    image = decode(data) if _intact_png(data) else None
    return None if image is None else _crop(image, choose(*image.shape[:2]), 1)


@cache
def _silence_opencv() -> None:
    """Stops OpenCV from writing to stderr about damaged files, which the log of a stream names; once per process."""
    import cv2

    if "OPENCV_LOG_LEVEL" not in os.environ:
        (cv2.utils.logging if hasattr(cv2.utils, "logging") else cv2).setLogLevel(0)  # OpenCV 5, or 4


def _crop(image: np.ndarray, window: Window, shrink: int) -> np.ndarray:
    """Crops a window of the original image from an image that was decoded at 1/`shrink` of its size."""
    top, left = round(window.top / shrink), round(window.left / shrink)
    height, width = max(1, round(window.height / shrink)), max(1, round(window.width / shrink))
    return image[top : top + height, left : left + width]


def _rows_to_decode(header: Header, window: Window, shrink: int) -> int:
    """Returns the number of rows to decode: all, or complete rows of blocks down to the end of the window."""
    if not header.sequential or header.restarts or header.orientation != 1:
        return header.height
    # Two more rows, since a row's colour is interpolated from its neighbours.
    bottom = window.top + window.height + 2 * shrink
    return min(header.height, -(-bottom // header.block_height) * header.block_height)


def _decode_jpeg(data: bytes, header: Header, rows: int, shrink: int) -> np.ndarray | None:
    import cv2

    buffer = bytearray(data)
    if header.sequential:
        end = data.rfind(_END, header.scan_offset)
        if 0 <= end < len(data) - len(_END) or header.multi_picture:
            end = data.find(_END, header.scan_offset)  # slower, for files in which other data follows the image
        has_end = end >= 0
        buffer[end if has_end else len(data) :] = _PADDING
        if has_end and rows < header.height:
            buffer[header.height_offset : header.height_offset + 2] = rows.to_bytes(2, "big")
    # IMREAD_REDUCED_COLOR_n decodes to BGR, so the flags of IMREAD_REDUCED_GRAYSCALE_n are combined with that of RGB.
    reduced = {1: 0, 2: 16, 4: 32, 8: 64}[shrink]
    try:
        return cv2.imdecode(np.frombuffer(buffer, np.uint8), cv2.IMREAD_COLOR_RGB | reduced)
    except cv2.error:
        return None


def read_header(data: bytes) -> Header | None:
    """Reads the header of a JPEG file; returns None if it is invalid."""
    offset, frame, restarts, multi_picture, orientation = 2, None, False, False, 1
    while offset + 4 <= len(data) and data[offset] == 0xFF:
        marker, length = data[offset + 1], int.from_bytes(data[offset + 2 : offset + 4], "big")
        if marker == 0xFF:  # any number of these may precede a marker
            offset += 1
            continue
        if marker == 0xDA:  # start of scan
            if frame is None or offset + 5 > len(data):
                return None
            height, width, height_offset, block_height, components, sequential = frame
            sequential = sequential and data[offset + 4] == components
            layout = height_offset, offset, block_height, sequential, restarts, multi_picture
            return Header(height, width, *layout, orientation)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame
            frame = _read_frame(data, offset, marker)
            if frame is None:
                return None
        elif marker == 0xDD:  # restart interval
            restarts = True
        elif marker == 0xE1 and data[offset + 4 : offset + 10] == b"Exif\0\0":
            orientation = _orientation(data[offset + 10 : offset + 2 + length])
        elif marker == 0xE2 and data[offset + 4 : offset + 8] == b"MPF\0":
            multi_picture = True
        offset += 2 + length
    return None


def _read_frame(data: bytes, at: int, marker: int) -> tuple[int, int, int, int, int, bool] | None:
    """Reads the frame header at position `at`; returns None if it is truncated or invalid.

    Returns:
        Height, width, the height's position in the file, rows per row of blocks, components, whether it is sequential.
    """
    if at + 10 > len(data) or at + 10 + 3 * data[at + 9] > len(data):
        return None
    height, width = int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big")
    components = data[at + 9]
    sampling = max((data[at + 11 + 3 * n] & 15 for n in range(components)), default=0)
    if not (height and width and sampling):
        return None
    return height, width, at + 5, 8 * sampling, components, marker in (0xC0, 0xC1)


def _orientation(tiff: bytes) -> int:
    """Returns the EXIF orientation; 1 if it is missing or invalid, as in OpenCV."""
    orders: dict[bytes, Literal["little", "big"]] = {b"II": "little", b"MM": "big"}
    order = orders.get(tiff[:2])
    if order is None:
        return 1
    at = int.from_bytes(tiff[4:8], order)
    for entry in range(at + 2, at + 2 + 12 * int.from_bytes(tiff[at : at + 2], order), 12):
        if int.from_bytes(tiff[entry : entry + 2], order) == 0x0112:
            value = int.from_bytes(tiff[entry + 8 : entry + 10], order)
            return value if 1 <= value <= 8 else 1
    return 1


def _intact_png(data: bytes) -> bool:
    """Returns False for a PNG file with truncated or damaged image data, about which libpng would warn on stderr."""
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        return True
    offset = 8
    while offset + 12 <= len(data):
        end = offset + 8 + int.from_bytes(data[offset : offset + 4], "big")
        chunk_type = data[offset + 4 : offset + 8]
        critical = chunk_type[:1].isupper()  # an image can be decoded without the other chunks
        if critical and zlib.crc32(data[offset + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return False
        if chunk_type == b"IEND":
            return True
        offset = end + 4
    return False
