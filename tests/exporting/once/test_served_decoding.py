"""Image files decoded in a TensorFlow graph equal those that this package decodes with OpenCV."""

from __future__ import annotations

import io
import struct

import cv2
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_resnet.data import read_center, read_image, resize_to
from keras_resnet.exporting import decoding
from keras_resnet.exporting.decoding import reader
from pictures import jpeg, photograph

CENTER = {"size": 48, "resize": 55}
PICTURE = photograph(0, 150, 203)


def orientation(number):
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


def saved(kind, mode="RGB", picture=PICTURE, **options):
    file = io.BytesIO()
    Image.fromarray(picture).convert(mode).save(file, kind, **options)
    return file.getvalue()


FILES = {
    "a landscape": jpeg(PICTURE),
    "a portrait": jpeg(photograph(1, 203, 90)),
    "square": jpeg(photograph(2, 64, 64)),
    "4:2:0": jpeg(PICTURE, subsampling=2, quality=40),
    "progressive": jpeg(PICTURE, progressive=True),
    "grey": jpeg(PICTURE, "L"),
    "of the size": jpeg(photograph(3, 48, 48)),
    "small": jpeg(photograph(4, 31, 40)),
    "twice as large": saved("PNG", picture=photograph(5, 96, 96)),
    "tiny": jpeg(photograph(6, 3, 2)),
    "long": jpeg(photograph(7, 20, 400)),
    "of a camera": jpeg(photograph(8, 600, 801)),
    "four times": jpeg(photograph(9, 230, 260)),
    "hardly larger": jpeg(photograph(12, 56, 100)),  # 49x48 pixels of it become 48x48
    **{f"orientation {number}": jpeg(photograph(10, 120, 90), exif=orientation(number)) for number in range(10)},
    "orientation, of a camera": jpeg(photograph(11, 640, 480), exif=orientation(6)),
    "PNG": saved("PNG"),
    "PNG of a palette": saved("PNG", "P"),
    "grey PNG": saved("PNG", "L"),
    "PNG with transparency": saved("PNG", "RGBA"),
    **{f"PNG, orientation {number}": saved("PNG", exif=orientation(number)) for number in (3, 6)},
    "BMP": saved("BMP"),
    "BMP of a palette": saved("BMP", "P"),
    "grey BMP": saved("BMP", "L"),
}
SMALL_OR_LONG = {"small", "tiny", "long"}  # enlarged, with float sums that OpenCV computes in another order


def run_in_graph(read, *files):
    specs = tf.TensorSpec(None, tf.uint8), tf.TensorSpec([], tf.bool)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def run(data):
        return tf.map_fn(read, data, fn_output_signature=specs)

    return [result.numpy() for result in run(tf.constant(list(files)))]


def test_the_centre_square_equals_that_of_a_test(tmp_path):
    images, valid = run_in_graph(reader(48, 48, 3, CENTER), *FILES.values())
    assert valid.all()
    for (name, file), image in zip(FILES.items(), images, strict=True):
        (tmp_path / "file").write_bytes(file)
        expected = read_center(tmp_path / "file", **CENTER).astype(int)
        differ = np.abs(image - expected)
        assert differ.max() <= 1, name
        assert (differ > 0).mean() <= (0.01 if name in SMALL_OR_LONG else 0.001), (name, (differ > 0).mean())


@pytest.mark.parametrize("channels", [3, 1])
def test_the_largest_part_equals_that_of_predict(tmp_path, channels):
    """If no view is known: the largest centred part, in this test of aspect ratio 40:52."""
    images, valid = run_in_graph(reader(40, 52, channels, None), *FILES.values())
    assert valid.all()
    for (name, file), image in zip(FILES.items(), images, strict=True):
        (tmp_path / "file").write_bytes(file)
        differ = np.abs(image - resize_to(read_image(tmp_path / "file"), 40, 52, channels).astype(int))
        assert differ.max() <= 1, name
        assert (differ > 0).mean() <= (0.05 if name in SMALL_OR_LONG else 0.01), (name, (differ > 0).mean())


def test_the_first_frame_of_a_gif_is_decoded():
    """As with OpenCV."""
    pictures = [Image.fromarray(photograph(seed, 60, 70)) for seed in (0, 1)]
    file = io.BytesIO()
    pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:])
    frame = np.array(Image.open(io.BytesIO(file.getvalue())).convert("RGB"))
    (image, expected), _ = run_in_graph(reader(48, 48, 3, CENTER), file.getvalue(), saved("PNG", picture=frame))
    np.testing.assert_array_equal(image, expected)


def test_later_frames_of_a_gif_and_the_size_of_its_screen_have_no_effect():
    """Before the frame may be a comment of several blocks; each frame may have a palette of its own."""
    small, large = (
        saved("GIF", "P", photograph(0, 60, 70), comment=b"." * 700),
        saved("GIF", "P", photograph(1, 90, 80)),
    )
    header, palette = small[:13], small[13 : 13 + 3 * 256]
    frame = small.index(struct.pack("<BHHHH", 0x2C, 0, 0, 70, 60))
    own = small[frame : frame + 9] + bytes([small[frame + 9] | 0x87]) + palette + small[frame + 10 : -1]
    files = [
        small,
        small[:-1] + large[13 + 3 * 256 :],  # two frames
        header[:6] + struct.pack("<HH", 5, 4) + header[10:] + small[13:],
        header[:10] + b"\0" + header[11:] + small[13 + 3 * 256 : frame] + own + b";",
        small[:-1],  # without the byte that ends a GIF
    ]
    images, valid = run_in_graph(reader(48, 48, 3, CENTER), *files)
    assert valid.all()
    frame = np.array(Image.open(io.BytesIO(small)).convert("RGB"))
    (expected,), _ = run_in_graph(reader(48, 48, 3, CENTER), saved("PNG", picture=frame))
    for image in images:
        np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("cut", [3, 10, 12, 200, 13 + 3 * 256, 13 + 3 * 256 + 5, 13 + 3 * 256 + 12, 2000, -3])
def test_a_truncated_gif_is_not_decoded(cut):
    _, valid = run_in_graph(reader(48, 48, 3, CENTER), saved("GIF", "P")[:cut])
    assert valid.tolist() == [False]


def test_files_of_other_formats_are_not_decoded():
    """TensorFlow decodes some WebP files, but never upright, and JPEG XL."""
    files = [saved(kind, picture=PICTURE) for kind in ("WEBP", "TIFF", "PPM")]
    _, valid = run_in_graph(reader(48, 48, 3, CENTER), *files, saved("WEBP", lossless=True, exif=orientation(6)))
    assert not valid.any()


def test_photographs(shared):
    """In photographs of ImageNet, hardly a value differs, and by no more than one."""
    files = sorted((shared / "data/imagenet_sample").glob("*.JPEG"))[::4]
    read = reader(224, 224, 3, {"size": 224, "resize": 256})
    images, valid = run_in_graph(read, *(file.read_bytes() for file in files))
    expected = np.stack([read_center(file, size=224, resize=256) for file in files]).astype(int)
    assert valid.all()
    assert np.abs(images - expected).max() <= 1
    assert (images != expected).mean() < 1e-5


def test_files_that_are_not_images_are_black_and_marked_and_do_not_affect_the_others():
    good = FILES["a landscape"]
    torn, png = good[: len(good) // 2], FILES["PNG"]
    files = [
        good,
        b"",
        b"no image",
        torn,
        good,
        png[: len(png) // 2],
        png[:200] + b"\0\0\0\0" + png[204:],
        b"\xff\xd8",
        good,
    ]
    images, valid = run_in_graph(reader(48, 48, 3, CENTER), *files)
    assert valid.tolist() == [True, False, False, False, True, False, False, False, True]
    assert not images[~valid].any()
    assert np.array_equal(images[0], images[4]) and np.array_equal(images[0], images[8])


GIF = saved("GIF", "P")
SCREEN = GIF[:6] + struct.pack("<HH", 1, 1) + GIF[10:]  # claims one pixel in its header, but more in its frame


def test_a_file_that_claims_too_many_pixels_is_not_decoded(monkeypatch):
    """A PNG of 20,000x20,000 equal pixels has a megabyte, and took ten gigabytes of memory, and a smaller GIF."""
    files = FILES["a landscape"], FILES["PNG"], GIF, SCREEN
    for maximum, accepted in ((150 * 203, True), (150 * 203 - 1, False)):
        monkeypatch.setattr(decoding, "PIXELS", maximum)
        _, valid = run_in_graph(reader(48, 48, 3, CENTER), *files)
        assert valid.tolist() == 4 * [accepted]


def test_damaged_exif_data_are_ignored():
    file = FILES["orientation 6"]
    start = file.index(b"Exif\0\0") + 6
    files = []
    for damage in (b"XX", b"MM\0*\xff\xff\xff\xff", b"II*\0\xff\xff\xff\x7f"):
        files.append(file[:start] + damage + file[start + len(damage) :])
    images, valid = run_in_graph(reader(48, 48, 3, None), *files)
    assert valid.all()
    upright = resize_to(cv2.imdecode(np.frombuffer(files[1], np.uint8), cv2.IMREAD_COLOR_RGB), 48, 48, 3)
    assert np.abs(images[1] - upright.astype(int)).max() <= 1


def test_halves_are_rounded_up_where_both_sides_are_exactly_halved():
    """As OpenCV does, which otherwise rounds halves to even: the mean of four values is their sum plus 2, over 4."""
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    (image,), _ = run_in_graph(reader(48, 48, 3, None), saved("PNG", picture=noise))
    expected = (noise.reshape(48, 2, 48, 2, 3).astype(int).sum(axis=(1, 3)) + 2) // 4
    np.testing.assert_array_equal(image, expected)
    np.testing.assert_array_equal(resize_to(noise, 48, 48, 3), expected)


def camera_exif(order, orientation):
    """EXIF data as of a camera: twelve other tags, then the orientation; "<" for little-endian, ">" for big-endian."""
    tags = [*range(0x00FE, 0x010A), 0x0112]
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HI", 42, 8)
    entries = [struct.pack(f"{order}HHIHH", tag, 3, 1, orientation if tag == 0x0112 else 3, 0) for tag in tags]
    return b"Exif\0\0" + head + struct.pack(f"{order}H", len(tags)) + b"".join(entries) + bytes(4)


def test_the_orientation_is_found_among_other_tags_in_both_byte_orders(tmp_path):
    """6: to be rotated clockwise by a quarter. In a JPEG it may follow another segment, here a long comment."""
    files, comment = [], b"\xff\xfe" + struct.pack(">H", 30_002) + bytes(30_000)
    for order in "<>":
        exif = camera_exif(order, 6)
        photo = jpeg(PICTURE, exif=exif)
        files += [saved("PNG", exif=exif), photo[:2] + comment + photo[2:]]
    height, width, _ = PICTURE.shape
    images, _ = run_in_graph(reader(width, height, 3, None), *files)
    for png, photo, file in zip(images[::2], images[1::2], files[1::2], strict=True):
        np.testing.assert_array_equal(png, np.rot90(PICTURE, -1))
        (tmp_path / "file").write_bytes(file)
        assert np.abs(photo - read_image(tmp_path / "file").astype(int)).max() <= 1
        assert np.abs(photo - np.rot90(PICTURE, -1).astype(int)).mean() < 10


def test_the_largest_part_is_averaged_even_if_only_its_longer_side_is_reduced():
    """Of 201x25 pixels, 201x20 are the largest part of aspect ratio 200:20."""
    noise = np.random.default_rng(0).integers(0, 256, (201, 25, 3), dtype=np.uint8)
    (image,), _ = run_in_graph(reader(200, 20, 3, None), saved("PNG", picture=noise))
    assert np.abs(image - resize_to(noise, 200, 20, 3).astype(int)).max() <= 1
