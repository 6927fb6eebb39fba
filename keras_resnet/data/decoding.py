"""Decodes of an image only what a window of it needs. Most of a stream's time goes here, so it saves work:

a JPEG is decoded at a half, a quarter or an eighth of its size where the window shrinks as much, and only down
to the window's last row. OpenCV offers the first; for the second, the height in the file's header is lowered.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from .images import decode

_START, _END = b"\xff\xd8", b"\xff\xd9"
# In place of the end marker. The decoder reads a few bytes ahead and finds them; where the data ends before the
# picture does it runs out of bytes, and fails, where at a marker it would paint the rest grey and tell stderr.
_PADDING = bytes(16)


class Window(NamedTuple):
    """A part of an upright image, in its pixels."""

    top: int
    left: int
    height: int
    width: int


class Header(NamedTuple):
    """What a JPEG file tells before its data.

    Attributes:
        height, width: as stored.
        height_at: where in the file the height stands.
        scan: where the data begins.
        step: the rows of a block row: the height can be lowered to its multiples.
        sequential: whether one scan holds all there is from top to bottom, which no progressive file does.
        restarts: whether markers stand within the data.
        several: whether further pictures may follow the first (a camera's multi-picture format).
        orientation: EXIF's, 1 to 8; from 5 on, height and width change places.
    """

    height: int
    width: int
    height_at: int
    scan: int
    step: int
    sequential: bool
    restarts: bool
    several: bool
    orientation: int


def decode_window(data: bytes, choose: Callable[[int, int], Window], size: int) -> np.ndarray | None:
    """Decodes the part of an image that a window keeps.

    Args:
        data: an image file's bytes.
        choose: from the upright image's height and width to the window.
        size: the side in pixels that the window will be resized to. The part returned is never smaller, unless
            the window is.

    Returns:
        uint8 (H, W, 3), RGB, upright; None where the data is no whole image. Where the image was decoded at a reduced
        size, the part is the window to within one pixel of that size. Grey, CMYK and 16-bit images become 8-bit RGB,
        as with `read_image`. A JPEG that lacks only its end marker is whole; one that lacks data of the decoded rows
        is not. Damage that leaves the data long enough goes unnoticed, and shows in the picture.
    """
    if data[:2] != _START:
        return _decode_whole(data, choose)
    header = read_header(data)
    if header is None:
        return None
    turned = header.orientation > 4
    height, width = (header.width, header.height) if turned else (header.height, header.width)
    window = choose(height, width)
    shrink = next((n for n in (8, 4, 2) if min(window.height, window.width) >= n * size), 1)
    rows = _rows(header, window, shrink)
    image = _decode_jpeg(data, header, rows, shrink)
    if image is None:
        return None
    expected = -(-(rows if rows < header.height else height) // shrink), -(-width // shrink)
    if image.shape[:2] != expected:  # OpenCV reads the orientation, or the header, otherwise than we do
        return _decode_whole(data, choose)
    return _part(image, window, shrink)


def _decode_whole(data: bytes, choose: Callable[[int, int], Window]) -> np.ndarray | None:
    _silence_opencv()
    image = decode(data) if _intact_png(data) else None
    return None if image is None else _part(image, choose(*image.shape[:2]), 1)


@cache
def _silence_opencv() -> None:
    """Once a process: OpenCV writes lines to stderr about every damaged file, which a stream's log names anyway."""
    import cv2

    if "OPENCV_LOG_LEVEL" not in os.environ:
        (cv2.utils.logging if hasattr(cv2.utils, "logging") else cv2).setLogLevel(0)  # since 5.0, and before


def _part(image: np.ndarray, window: Window, shrink: int) -> np.ndarray:
    top, left = round(window.top / shrink), round(window.left / shrink)
    height, width = max(1, round(window.height / shrink)), max(1, round(window.width / shrink))
    return image[top : top + height, left : left + width]


def _rows(header: Header, window: Window, shrink: int) -> int:
    """How many rows to decode: all, or whole block rows to below the window, where there are fewer."""
    if not header.sequential or header.restarts or header.orientation != 1:
        return header.height
    # Two rows more, since a row's colour is interpolated from the rows about it.
    bottom = window.top + window.height + 2 * shrink
    return min(header.height, -(-bottom // header.step) * header.step)


def _decode_jpeg(data: bytes, header: Header, rows: int, shrink: int) -> np.ndarray | None:
    import cv2

    buffer = bytearray(data)
    if header.sequential:
        end = data.rfind(_END, header.scan)
        if 0 <= end < len(data) - len(_END) or header.several:
            end = data.find(_END, header.scan)  # slow, for pictures in which something follows the picture
        whole = end >= 0
        buffer[end if whole else len(data) :] = _PADDING
        if whole and rows < header.height:
            buffer[header.height_at : header.height_at + 2] = rows.to_bytes(2, "big")
    # As the colour of IMREAD_REDUCED_COLOR_n is BGR, that of IMREAD_REDUCED_GRAYSCALE_n is asked to be RGB.
    reduced = {1: 0, 2: 16, 4: 32, 8: 64}[shrink]
    try:
        return cv2.imdecode(np.frombuffer(buffer, np.uint8), cv2.IMREAD_COLOR_RGB | reduced)
    except cv2.error:
        return None


def read_header(data: bytes) -> Header | None:
    """Reads a JPEG's header; None where it makes no sense."""
    at, frame, restarts, several, orientation = 2, None, False, False, 1
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xFF:  # any number of these may stand before a marker
            at += 1
            continue
        if marker == 0xDA:  # start of scan
            if frame is None or at + 5 > len(data):
                return None
            height, width, height_at, step, components, sequential = frame
            sequential = sequential and data[at + 4] == components
            return Header(height, width, height_at, at, step, sequential, restarts, several, orientation)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame
            frame = _read_frame(data, at, marker)
            if frame is None:
                return None
        elif marker == 0xDD:
            restarts = True
        elif marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            orientation = _orientation(data[at + 10 : at + 2 + length])
        elif marker == 0xE2 and data[at + 4 : at + 8] == b"MPF\0":
            several = True
        at += 2 + length
    return None


def _read_frame(data: bytes, at: int, marker: int) -> tuple[int, int, int, int, int, bool] | None:
    """Height, width, where the height stands, rows of a block row, components, sequential; None if cut short."""
    if at + 10 > len(data) or at + 10 + 3 * data[at + 9] > len(data):
        return None
    height, width = int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big")
    components = data[at + 9]
    sampling = max((data[at + 11 + 3 * n] & 15 for n in range(components)), default=0)
    if not (height and width and sampling):
        return None
    return height, width, at + 5, 8 * sampling, components, marker in (0xC0, 0xC1)


def _orientation(tiff: bytes) -> int:
    """EXIF's orientation; 1 where there is none, or none that makes sense, as OpenCV has it."""
    order = {b"II": "little", b"MM": "big"}.get(tiff[:2])
    if order is None:
        return 1
    at = int.from_bytes(tiff[4:8], order)
    for entry in range(at + 2, at + 2 + 12 * int.from_bytes(tiff[at : at + 2], order), 12):
        if int.from_bytes(tiff[entry : entry + 2], order) == 0x0112:
            value = int.from_bytes(tiff[entry + 8 : entry + 10], order)
            return value if 1 <= value <= 8 else 1
    return 1


def _intact_png(data: bytes) -> bool:
    """False for a PNG whose picture is cut short or damaged, of which libpng would complain on stderr."""
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        return True
    at = 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        needed = kind[:1].isupper()  # a picture can do without the others
        if needed and zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return False
        if kind == b"IEND":
            return True
        at = end + 4
    return False
