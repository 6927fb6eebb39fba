"""What is read of image files in a TensorFlow graph before they are decoded: size, orientation, first frame."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

JPEG_EXIF, PNG_EXIF = b"Exif\0\0", b"eXIf"  # come before the EXIF data
ORIENTATION = 0x0112
HEADER = 65_536  # bytes at the beginning of a file that are searched for EXIF data
ENTRIES = 64  # maximum number of EXIF entries that are read


def claimed_pixels(data: Any, is_jpeg: Any, is_png: Any, is_gif: Any) -> Any:
    """Returns height times width in the header of a JPEG, PNG or GIF; 0 for BMP, which allows fewer."""
    header = tf.cast(tf.io.decode_raw(tf.strings.substr(data, 0, 24), tf.uint8), tf.int64)

    def jpeg() -> Any:
        return tf.cast(tf.image.extract_jpeg_shape(data)[:2], tf.int64)

    def png() -> Any:
        return tf.tensordot(tf.reshape(header[16:24], (2, 4)), tf.constant([2**24, 2**16, 2**8, 1], tf.int64), 1)

    def gif() -> Any:
        return tf.tensordot(tf.reshape(header[6:10], (2, 2)), tf.constant([1, 2**8], tf.int64), 1)

    none = tf.zeros(2, tf.int64)
    return tf.reduce_prod(tf.case([(is_jpeg, jpeg), (is_png, png), (is_gif, gif)], lambda: none))


def first_frame(data: Any) -> Any:
    """Returns a GIF that consists of the first frame of a GIF, with the frame's size in its header.

    TensorFlow decodes all frames into the memory, each of which may be larger than the header claims.
    """
    octets = tf.concat([tf.io.decode_raw(data, tf.uint8), tf.zeros(512, tf.uint8)], 0)  # zeros end all loops

    def octet(at: Any) -> Any:
        return tf.cast(octets[at], tf.int32)

    def palette(flags: Any) -> Any:
        """Returns the number of bytes of the palette that flags announce."""
        return tf.where(flags >= 128, 3 * 2 ** (flags % 8 + 1), 0)

    def after_blocks(at: Any) -> Any:
        """Returns the end of a sequence of blocks, each of which begins with its length; an empty one is the last."""
        return tf.while_loop(lambda at: octets[at] > 0, lambda at: (at + 1 + octet(at),), (at,))[0] + 1

    # Between the header and the frame are a palette and extensions: "!", a label, and blocks.
    begin = 13 + palette(octet(10))
    (frame,) = tf.while_loop(lambda at: octets[at] == ord("!"), lambda at: (after_blocks(at + 2),), (begin,))
    end = after_blocks(frame + 10 + palette(octet(frame + 9)) + 1)
    size = tf.strings.substr(data, frame + 5, 4)
    return tf.strings.join([tf.strings.substr(data, 0, 6), size, tf.strings.substr(data, 10, end - 10), b";"])


def orientation(data: Any, mark: bytes) -> Any:
    """Returns the EXIF orientation of a file whose EXIF data follow a mark; 1 if there is none, or an invalid one."""
    length = tf.minimum(tf.strings.length(data), HEADER)
    octets = tf.cast(tf.io.decode_raw(tf.strings.substr(data, 0, length), tf.uint8), tf.int32)
    octets = tf.concat([octets, tf.zeros(32, tf.int32)], 0)
    matches = tf.reduce_all(tf.stack([octets[n : n + length] == code for n, code in enumerate(mark)]), 0)
    offsets = tf.where(matches)
    return tf.cond(
        tf.size(offsets) > 0, lambda: _read_orientation(octets, tf.cast(offsets[0, 0], tf.int32) + len(mark)), lambda: 1
    )


def _read_orientation(octets: Any, tiff: Any) -> Any:
    """Returns the orientation in the EXIF data whose TIFF header is at offset `tiff`."""
    little_endian = octets[tiff] == ord("I")
    last = tf.size(octets) - 1

    def number(offset: Any, size: int) -> Any:
        digits = [tf.gather(octets, tf.clip_by_value(offset + n, 0, last)) for n in range(size)]
        both_orders = [sum(digit * 256**n for n, digit in enumerate(row)) for row in (digits, digits[::-1])]
        return tf.where(little_endian, *both_orders)

    begin = tiff + number(tiff + 4, 4)
    entries = begin + 2 + 12 * tf.range(tf.clip_by_value(number(begin, 2), 0, ENTRIES))
    values = tf.boolean_mask(number(entries + 8, 2), number(entries, 2) == ORIENTATION)
    orientation = tf.concat([values, [1]], 0)[0]
    return tf.where((orientation >= 1) & (orientation <= 8), orientation, 1)
