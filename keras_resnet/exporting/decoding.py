"""Image files inside a TensorFlow graph: decoded, turned upright, cut and resized as this package does with OpenCV.

A served model then sees what it was tested on, to the last bit but for sums that end in a half. Where an image shrinks,
areas are averaged; where it grows it is interpolated, linearly or with cubics.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

EXIF = b"Exif\0\0"
ORIENTATION = 0x0112
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
SHRINKS = (1, 2, 4, 8)  # at which a JPEG can be decoded
HEADER = 65_536  # bytes of a file in which EXIF data must begin
ENTRIES = 64  # of them that are looked at
NEGLIGIBLE = 1e-3  # of a pixel, which OpenCV does not count
CUBIC = -0.75  # OpenCV's parameter of it
FIXED = 2048  # into so many parts OpenCV divides a weight


def reader(height: int, width: int, channels: int, view: dict[str, int] | None) -> Callable[[Any], tuple[Any, Any]]:
    """What makes a network's input of an image file.

    Args:
        height, width, channels: of the network's images; 3 or 1 channels.
        view: "size" and "resize" of the centre square that the network was tested on; None for the largest part in the
            middle that has the proportions of the network's images.

    Returns:
        A function of a scalar string, the bytes of a JPEG, PNG, GIF (its first picture) or BMP file; returns uint8
        (height, width, channels) and whether it is an image. One that is none is black.
    """
    choose = _largest(height, width) if view is None else _center(view["size"], view["resize"])
    grow = "cubic" if view is None else "linear"

    def read(data: Any) -> Any:
        image = _decode(data, choose, max(height, width) if view else None)
        image = _resize(image, height, width, grow)
        if channels == 1:
            image = tf.round(tf.tensordot(tf.cast(image, tf.float32), tf.constant(LUMA), 1))[..., None]
        return tf.ensure_shape(tf.cast(image, tf.uint8), (height, width, channels))

    black = tf.zeros((height, width, channels), tf.uint8)

    def read_or_black(data: Any) -> tuple[Any, Any]:
        # A graph has no `except`; but a data set can pass over what fails.
        whole = tf.data.Dataset.from_tensors(data).map(lambda one: (read(one), True))
        either = whole.ignore_errors().concatenate(tf.data.Dataset.from_tensors((black, False)))
        return either.take(1).get_single_element()

    return read_or_black


def _largest(height: int, width: int) -> Callable[[Any, Any], tuple[Any, ...]]:
    """See `keras_resnet.data.resize_to`."""

    def choose(rows: Any, columns: Any) -> tuple[Any, ...]:
        scale = tf.minimum(rows / height, columns / width)
        kept = [tf.maximum(1, _rounded(scale * side)) for side in (height, width)]
        return (rows - kept[0]) // 2, (columns - kept[1]) // 2, *kept

    return choose


def _center(size: int, resize: int) -> Callable[[Any, Any], tuple[Any, ...]]:
    """See `keras_resnet.data.views.center_window`."""

    def span(length: Any, resized: Any) -> tuple[Any, Any]:
        first, scale = (resized - size) // 2, length / resized
        start = tf.minimum(_rounded(tf.cast(first, tf.float64) * scale), length - 1)
        end = tf.minimum(_rounded(tf.cast(first + size, tf.float64) * scale), length)
        return start, tf.maximum(start + 1, end) - start

    def choose(rows: Any, columns: Any) -> tuple[Any, ...]:
        scale = resize / tf.minimum(rows, columns)
        tall, wide = (_rounded(tf.cast(side, tf.float64) * scale) for side in (rows, columns))
        (top, height), (left, width) = span(rows, tall), span(columns, wide)
        return top, left, height, width

    return choose


def _rounded(number: Any) -> Any:
    return tf.cast(tf.round(number), tf.int32)  # to even, as Python does


def _decode(data: Any, choose: Callable[[Any, Any], tuple[Any, ...]], size: int | None) -> Any:
    """The part of an image that a window keeps, int32 (rows, columns, 3), upright.

    Args:
        data: the file.
        choose: from height and width to the window's top, left, height and width.
        size: the side that it will be resized to; a JPEG is decoded at a half, a quarter or an eighth where that is
            enough. None for the full size.
    """
    is_jpeg = tf.strings.substr(data, 0, 2) == b"\xff\xd8"
    orientation = tf.cond(is_jpeg, lambda: _orientation(data), lambda: 1)

    def jpeg() -> tuple[Any, Any]:
        shape = tf.image.extract_jpeg_shape(data)
        stored = shape[0], shape[1]
        turned = orientation > 4
        upright = tf.where(turned, stored[1], stored[0]), tf.where(turned, stored[0], stored[1])
        _, _, height, width = choose(*upright)
        if size is None:
            return _jpeg(data, 1), tf.stack([*upright, 1])
        times = tf.minimum(height, width) // size
        which = tf.reduce_sum(tf.cast(times >= tf.constant(SHRINKS[1:]), tf.int32))
        image = tf.switch_case(which, [lambda ratio=ratio: _jpeg(data, ratio) for ratio in SHRINKS])
        return image, tf.stack([*upright, tf.gather(SHRINKS, which)])

    def other() -> tuple[Any, Any]:
        image = tf.io.decode_image(data, channels=3, expand_animations=False)
        return image, tf.stack([tf.shape(image)[0], tf.shape(image)[1], 1])

    image, sizes = tf.cond(is_jpeg, jpeg, other)
    image = _upright(image, orientation)
    shrunk = [_rounded(side / sizes[2]) for side in choose(sizes[0], sizes[1])]  # int by int is float64
    top, left, height, width = shrunk[0], shrunk[1], tf.maximum(1, shrunk[2]), tf.maximum(1, shrunk[3])
    return tf.cast(image[top : top + height, left : left + width], tf.int32)


def _jpeg(data: Any, ratio: int) -> Any:
    return tf.io.decode_jpeg(data, channels=3, ratio=ratio, fancy_upscaling=True, dct_method="INTEGER_ACCURATE")


def _upright(image: Any, orientation: Any) -> Any:
    """As EXIF's orientation says, 1 to 8."""
    turned = tf.cond(orientation > 4, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
    # From 1 on: as it is, left to right, by half a turn, upside down; behind a transposition the same with 5, 6, 8, 7.
    mirrored = tf.gather([False, False, True, True, False, False, True, True, False], orientation)
    flipped = tf.gather([False, False, False, True, True, False, False, True, True], orientation)
    turned = tf.cond(mirrored, lambda: turned[:, ::-1], lambda: turned)
    return tf.cond(flipped, lambda: turned[::-1], lambda: turned)


def _orientation(data: Any) -> Any:
    """EXIF's orientation of a JPEG; 1 where there is none that makes sense."""
    length = tf.minimum(tf.strings.length(data), HEADER)
    octets = tf.cast(tf.io.decode_raw(tf.strings.substr(data, 0, length), tf.uint8), tf.int32)
    octets = tf.concat([octets, tf.zeros(32, tf.int32)], 0)
    here = tf.reduce_all(tf.stack([octets[n : n + length] == code for n, code in enumerate(EXIF)]), 0)
    places = tf.where(here)
    return tf.cond(
        tf.size(places) > 0, lambda: _read_orientation(octets, tf.cast(places[0, 0], tf.int32) + 6), lambda: 1
    )


def _read_orientation(octets: Any, tiff: Any) -> Any:
    """The orientation that the TIFF header at a place of a file leads to."""
    little = octets[tiff] == ord("I")
    last = tf.size(octets) - 1

    def number(at: Any, size: int) -> Any:
        digits = [tf.gather(octets, tf.clip_by_value(at + n, 0, last)) for n in range(size)]
        ends = [sum(digit * 256**n for n, digit in enumerate(row)) for row in (digits, digits[::-1])]
        return tf.where(little, *ends)

    begin = tiff + number(tiff + 4, 4)
    entries = begin + 2 + 12 * tf.range(tf.clip_by_value(number(begin, 2), 0, ENTRIES))
    values = tf.boolean_mask(number(entries + 8, 2), number(entries, 2) == ORIENTATION)
    found = tf.concat([values, [1]], 0)[0]
    return tf.where((found >= 1) & (found <= 8), found, 1)


def _resize(image: Any, height: int, width: int, grow: str) -> Any:
    """From int32 (rows, columns, 3) to int32 (height, width, 3)."""
    rows, columns = tf.shape(image)[0], tf.shape(image)[1]
    shrinks = tf.minimum(rows / height, columns / width) > 1
    grown = {"linear": _linear, "cubic": _cubic}[grow]
    return tf.cond(shrinks, lambda: _averaged(image, height, width), lambda: grown(image, height, width))


def _averaged(image: Any, height: int, width: int) -> Any:
    rows, columns = tf.shape(image)[0], tf.shape(image)[1]
    resized = _weighted(image, _areas(rows, height), _areas(columns, width))
    halves = (rows == 2 * height) & (columns == 2 * width)  # of which OpenCV rounds a half up, and else to even
    return tf.cast(tf.where(halves, tf.floor(resized + 0.5), tf.round(resized)), tf.int32)


def _weighted(image: Any, by_row: Any, by_column: Any) -> Any:
    across = tf.einsum("jw,hwc->hjc", by_column, tf.cast(image, tf.float32))
    return tf.einsum("ih,hjc->ijc", by_row, across)


def _areas(length: Any, side: int) -> Any:
    """How much of each of `length` pixels is in each of `side`, float32 (side, length)."""
    scale = length / side  # float64
    begin = tf.range(side, dtype=tf.float64)[:, None] * scale
    pixels = tf.range(tf.cast(length, tf.float64), dtype=tf.float64)[None]
    shares = tf.minimum(begin + scale, pixels + 1) - tf.maximum(begin, pixels)
    return tf.cast(tf.where(shares > NEGLIGIBLE, shares, 0.0) / scale, tf.float32)


def _places(length: Any, side: int) -> tuple[Any, Any]:
    """Between which of `length` pixels each of `side` lies: the one before it, and how far it is behind that."""
    at = tf.cast((tf.range(side, dtype=tf.float64) + 0.5) * (length / side) - 0.5, tf.float32)
    before = tf.floor(at)
    return tf.cast(before, tf.int32), at - before


def _linear(image: Any, height: int, width: int) -> Any:
    """Linear interpolation as OpenCV does it in whole numbers."""
    row, down = _places(tf.shape(image)[0], height)
    column, right = _places(tf.shape(image)[1], width)
    right = tf.where((column < 0) | (column >= tf.shape(image)[1] - 1), 0.0, right)

    def shares(behind: Any) -> list[Any]:
        return [tf.cast(tf.round(share * FIXED), tf.int32)[:, None] for share in (1 - behind, behind)]

    def two(taken: Any, place: Any, axis: int) -> list[Any]:
        last = tf.shape(taken)[axis] - 1
        return [tf.gather(taken, tf.clip_by_value(place + n, 0, last), axis=axis) for n in (0, 1)]

    across = sum(share * part for share, part in zip(shares(right), two(image, column, 1), strict=True))
    parts = zip(shares(down), two(across // 16, row, 0), strict=True)
    return (sum(share[:, None] * part // FIXED // 32 for share, part in parts) + 2) // 4


def _cubic(image: Any, height: int, width: int) -> Any:
    """Cubic interpolation (Keys 1981)."""

    def weights(length: Any, side: int) -> Any:
        before, behind = _places(length, side)
        found = tf.zeros((side, length), tf.float32)
        for n in (-1, 0, 1, 2):
            pixel = tf.clip_by_value(before + n, 0, length - 1)
            found += _keys(tf.abs(behind - n))[:, None] * tf.one_hot(pixel, length)
        return found

    rows, columns = tf.shape(image)[0], tf.shape(image)[1]
    resized = _weighted(image, weights(rows, height), weights(columns, width))
    return tf.cast(tf.clip_by_value(tf.round(resized), 0.0, 255.0), tf.int32)


def _keys(distance: Any) -> Any:
    near = ((CUBIC + 2) * distance - (CUBIC + 3)) * distance**2 + 1
    far = ((CUBIC * distance - 5 * CUBIC) * distance + 8 * CUBIC) * distance - 4 * CUBIC
    return tf.where(distance <= 1, near, far)
