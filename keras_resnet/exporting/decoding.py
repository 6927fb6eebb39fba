"""Decoding, orientation, cropping and resizing of image files in a TensorFlow graph, as this package does with OpenCV.

A served model thus receives the pixels on which it was tested, identical but for sums that end in a half. An image is
reduced by averaging areas, and enlarged by linear or cubic interpolation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from .headers import JPEG_EXIF, PNG_EXIF, claimed_pixels, first_frame, orientation

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
SHRINKS = (1, 2, 4, 8)  # factors by which a JPEG can be reduced while it is decoded
PIXELS = 2**28  # maximum of a file, more than a camera's: a megabyte may claim so many that they fill the memory
NEGLIGIBLE = 1e-3  # share of a pixel that OpenCV ignores when it averages areas
CUBIC = -0.75  # OpenCV's parameter of cubic interpolation
FIXED = 2048  # denominator of OpenCV's fixed-point weights


def reader(height: int, width: int, channels: int, view: dict[str, int] | None) -> Callable[[Any], tuple[Any, Any]]:
    """Returns a function that turns an image file into the input of a network.

    Args:
        height, width, channels: shape of the network's images, with 3 or 1 channels.
        view: "size" and "resize" of the centre square that the network was tested on; None for the largest centred part
            that has the aspect ratio of the network's images.

    Returns:
        A function of a scalar string, the bytes of a JPEG, PNG, GIF (its first frame) or BMP file. It returns an image,
        uint8 (height, width, channels), and whether the file could be decoded; if not, the image is black.
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
        # A graph has no `except`, but a data set can skip elements that fail.
        decoded = tf.data.Dataset.from_tensors(data).map(lambda file: (read(file), True))
        either = decoded.ignore_errors().concatenate(tf.data.Dataset.from_tensors((black, False)))
        return either.take(1).get_single_element()

    return read_or_black


def _largest(height: int, width: int) -> Callable[[Any, Any], tuple[Any, ...]]:
    """Returns the window function of the largest centred part; see `keras_resnet.data.resize_to`."""

    def choose(rows: Any, columns: Any) -> tuple[Any, ...]:
        scale = tf.minimum(rows / height, columns / width)
        window = [tf.maximum(1, _rounded(scale * side)) for side in (height, width)]
        return (rows - window[0]) // 2, (columns - window[1]) // 2, *window

    return choose


def _center(size: int, resize: int) -> Callable[[Any, Any], tuple[Any, ...]]:
    """Returns the window function of the centre square; see `keras_resnet.data.views.center_window`."""

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
    return tf.cast(tf.round(number), tf.int32)  # halves to even, as in Python


def _decode(data: Any, choose: Callable[[Any, Any], tuple[Any, ...]], size: int | None) -> Any:
    """Decodes the part of an image that is inside a window, int32 (rows, columns, 3), upright.

    Args:
        data: the bytes of the file.
        choose: function of an image's height and width that returns the window's top, left, height and width.
        size: the side to which the part will be resized: a JPEG is decoded at a half, a quarter or an eighth of its
            size if that is enough. None to decode at full size.
    """
    is_jpeg = tf.strings.substr(data, 0, 2) == b"\xff\xd8"
    is_png = tf.strings.substr(data, 0, 4) == b"\x89PNG"
    is_gif = tf.strings.substr(data, 0, 4) == b"GIF8"
    is_bmp = tf.strings.substr(data, 0, 2) == b"BM"
    data = tf.cond(is_gif, lambda: first_frame(data), lambda: data)
    # TensorFlow also decodes WebP, but only some, and not upright; and JPEG XL, of which kilobytes may fill the memory.
    accepted = is_jpeg | is_png | is_gif | is_bmp
    accepted &= claimed_pixels(data, is_jpeg, is_png, is_gif) <= PIXELS
    data = tf.where(accepted, data, b"")  # which is not decoded
    turn = tf.cond(
        is_jpeg,
        lambda: orientation(data, JPEG_EXIF),
        lambda: tf.cond(is_png, lambda: orientation(data, PNG_EXIF), lambda: 1),
    )

    def sides(shape: Any) -> tuple[Any, Any]:
        return tf.where(turn > 4, shape[1], shape[0]), tf.where(turn > 4, shape[0], shape[1])

    def jpeg() -> tuple[Any, Any]:
        upright = sides(tf.image.extract_jpeg_shape(data))
        _, _, height, width = choose(*upright)
        if size is None:
            return _jpeg(data, 1), tf.stack([*upright, 1])
        factor = tf.minimum(height, width) // size
        index = tf.reduce_sum(tf.cast(factor >= tf.constant(SHRINKS[1:]), tf.int32))
        image = tf.switch_case(index, [lambda ratio=ratio: _jpeg(data, ratio) for ratio in SHRINKS])
        return image, tf.stack([*upright, tf.gather(SHRINKS, index)])

    def other() -> tuple[Any, Any]:
        image = tf.io.decode_image(data, channels=3, expand_animations=False)
        image = tf.cond(is_bmp, lambda: _bmp_colours(data, image), lambda: image)
        return image, tf.stack([*sides(tf.shape(image)), 1])

    image, sizes = tf.cond(is_jpeg, jpeg, other)
    image = _upright(image, turn)
    window = [_rounded(side / sizes[2]) for side in choose(sizes[0], sizes[1])]  # int32 / int32 is float64
    top, left, height, width = window[0], window[1], tf.maximum(1, window[2]), tf.maximum(1, window[3])
    return tf.cast(image[top : top + height, left : left + width], tf.int32)


def _jpeg(data: Any, ratio: int) -> Any:
    return tf.io.decode_jpeg(data, channels=3, ratio=ratio, fancy_upscaling=True, dct_method="INTEGER_ACCURATE")


def _bmp_colours(data: Any, image: Any) -> Any:
    """Replaces the indices that TensorFlow decodes from a BMP of 8 bits per pixel by the colours of its palette."""
    header = tf.cast(tf.io.decode_raw(tf.strings.substr(data, 0, 30), tf.uint8), tf.int32)
    first, begin = (tf.tensordot(header[at : at + 4], [1, 2**8, 2**16, 2**24], 1) for at in (10, 14))

    def coloured() -> Any:
        palette = tf.io.decode_raw(tf.strings.substr(data, 14 + begin, first - 14 - begin), tf.uint8)
        colours = tf.reshape(palette, (-1, 4))[:, 2::-1]  # stored as blue, green, red, 0
        return tf.gather(colours, tf.cast(image[..., 0], tf.int32))

    return tf.cond(header[28] == 8, coloured, lambda: image)


def _upright(image: Any, orientation: Any) -> Any:
    """Turns an image upright according to its EXIF orientation, 1 to 8."""
    turned = tf.cond(orientation > 4, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
    # 1: unchanged, 2: mirrored, 3: rotated by 180 degrees, 4: flipped; 5 to 8: the same after a transposition.
    mirrored = tf.gather([False, False, True, True, False, False, True, True, False], orientation)
    flipped = tf.gather([False, False, False, True, True, False, False, True, True], orientation)
    turned = tf.cond(mirrored, lambda: turned[:, ::-1], lambda: turned)
    return tf.cond(flipped, lambda: turned[::-1], lambda: turned)


def _resize(image: Any, height: int, width: int, grow: str) -> Any:
    """Resizes int32 (rows, columns, 3) to int32 (height, width, 3)."""
    rows, columns = tf.shape(image)[0], tf.shape(image)[1]
    # One side may already have its size: the centre square is then enlarged in tests, and the largest part reduced.
    enlarge, extreme = {"linear": (_linear, tf.minimum), "cubic": (_cubic, tf.maximum)}[grow]
    shrinks = extreme(rows / height, columns / width) > 1
    return tf.cond(shrinks, lambda: _averaged(image, height, width), lambda: enlarge(image, height, width))


def _averaged(image: Any, height: int, width: int) -> Any:
    rows, columns = tf.shape(image)[0], tf.shape(image)[1]
    resized = _weighted(image, _areas(rows, height), _areas(columns, width))
    # OpenCV rounds halves up if both sides are exactly halved, and to even otherwise.
    halved = (rows == 2 * height) & (columns == 2 * width)
    return tf.cast(tf.where(halved, tf.floor(resized + 0.5), tf.round(resized)), tf.int32)


def _weighted(image: Any, by_row: Any, by_column: Any) -> Any:
    across = tf.einsum("jw,hwc->hjc", by_column, tf.cast(image, tf.float32))
    return tf.einsum("ih,hjc->ijc", by_row, across)


def _areas(length: Any, side: int) -> Any:
    """Returns the shares of `length` pixels in each of `side` resized pixels, float32 (side, length)."""
    scale = length / side  # float64
    begin = tf.range(side, dtype=tf.float64)[:, None] * scale
    pixels = tf.range(tf.cast(length, tf.float64), dtype=tf.float64)[None]
    shares = tf.minimum(begin + scale, pixels + 1) - tf.maximum(begin, pixels)
    return tf.cast(tf.where(shares > NEGLIGIBLE, shares, 0.0) / scale, tf.float32)


def _positions(length: Any, side: int) -> tuple[Any, Any]:
    """Returns where each of `side` pixels is among `length` pixels: the index of the pixel before, and the fraction."""
    position = tf.cast((tf.range(side, dtype=tf.float64) + 0.5) * (length / side) - 0.5, tf.float32)
    before = tf.floor(position)
    return tf.cast(before, tf.int32), position - before


def _linear(image: Any, height: int, width: int) -> Any:
    """Linear interpolation in the fixed-point arithmetic of OpenCV."""
    row, row_fraction = _positions(tf.shape(image)[0], height)
    column, column_fraction = _positions(tf.shape(image)[1], width)
    outside = (column < 0) | (column >= tf.shape(image)[1] - 1)
    column_fraction = tf.where(outside, 0.0, column_fraction)

    def weights(fraction: Any) -> list[Any]:
        return [tf.cast(tf.round(weight * FIXED), tf.int32)[:, None] for weight in (1 - fraction, fraction)]

    def neighbours(pixels: Any, index: Any, axis: int) -> list[Any]:
        last = tf.shape(pixels)[axis] - 1
        return [tf.gather(pixels, tf.clip_by_value(index + n, 0, last), axis=axis) for n in (0, 1)]

    across = sum(
        weight * part for weight, part in zip(weights(column_fraction), neighbours(image, column, 1), strict=True)
    )
    down = zip(weights(row_fraction), neighbours(across // 16, row, 0), strict=True)
    return (sum(weight[:, None] * part // FIXED // 32 for weight, part in down) + 2) // 4


def _cubic(image: Any, height: int, width: int) -> Any:
    """Cubic interpolation (Keys 1981)."""

    def weights(length: Any, side: int) -> Any:
        before, fraction = _positions(length, side)
        total = tf.zeros((side, length), tf.float32)
        for n in (-1, 0, 1, 2):
            pixel = tf.clip_by_value(before + n, 0, length - 1)
            total += _keys(tf.abs(fraction - n))[:, None] * tf.one_hot(pixel, length)
        return total

    rows, columns = tf.shape(image)[0], tf.shape(image)[1]
    resized = _weighted(image, weights(rows, height), weights(columns, width))
    return tf.cast(tf.clip_by_value(tf.round(resized), 0.0, 255.0), tf.int32)


def _keys(distance: Any) -> Any:
    """The convolution kernel of Keys 1981."""
    near = ((CUBIC + 2) * distance - (CUBIC + 3)) * distance**2 + 1
    far = ((CUBIC * distance - 5 * CUBIC) * distance + 8 * CUBIC) * distance - 4 * CUBIC
    return tf.where(distance <= 1, near, far)
