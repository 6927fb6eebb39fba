"""An image file in a TensorFlow graph comes to what OpenCV makes of it in this package."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_resnet.data import read_center, read_image, resize_to
from keras_resnet.exporting.decoding import reader
from pictures import jpeg, photograph

CENTER = {"size": 48, "resize": 55}
PICTURE = photograph(0, 150, 203)


def turned(number):
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
    **{f"orientation {number}": jpeg(photograph(10, 120, 90), exif=turned(number)) for number in range(10)},
    "orientation, of a camera": jpeg(photograph(11, 640, 480), exif=turned(6)),
    "PNG": saved("PNG"),
    "PNG of a palette": saved("PNG", "P"),
    "grey PNG": saved("PNG", "L"),
    "PNG with transparency": saved("PNG", "RGBA"),
    "BMP": saved("BMP"),
}
SMALL_OR_LONG = {"small", "tiny", "long"}  # enlarged, by sums of floats that OpenCV adds up in another order


def through(read, *files):
    specs = tf.TensorSpec(None, tf.uint8), tf.TensorSpec([], tf.bool)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def run(data):
        return tf.map_fn(read, data, fn_output_signature=specs)

    return [result.numpy() for result in run(tf.constant(list(files)))]


def test_as_a_test_sees_it(tmp_path):
    seen, whole = through(reader(48, 48, 3, CENTER), *FILES.values())
    assert whole.all()
    for (name, file), image in zip(FILES.items(), seen, strict=True):
        (tmp_path / "file").write_bytes(file)
        expected = read_center(tmp_path / "file", **CENTER).astype(int)
        differ = np.abs(image - expected)
        assert differ.max() <= 1, name
        assert (differ > 0).mean() <= (0.01 if name in SMALL_OR_LONG else 0.001), (name, (differ > 0).mean())


@pytest.mark.parametrize("channels", [3, 1])
def test_as_predict_sees_it(tmp_path, channels):
    """Where nothing is known of the view: the largest part in the middle, here of the proportions 40 to 52."""
    seen, whole = through(reader(40, 52, channels, None), *FILES.values())
    assert whole.all()
    for (name, file), image in zip(FILES.items(), seen, strict=True):
        (tmp_path / "file").write_bytes(file)
        differ = np.abs(image - resize_to(read_image(tmp_path / "file"), 40, 52, channels).astype(int))
        assert differ.max() <= 1, name
        assert (differ > 0).mean() <= (0.05 if name in SMALL_OR_LONG else 0.01), (name, (differ > 0).mean())


def test_the_first_picture_of_a_gif_is_shown():
    """Which OpenCV reads as well."""
    pictures = [Image.fromarray(photograph(seed, 60, 70)) for seed in (0, 1)]
    file = io.BytesIO()
    pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:])
    (seen,), _ = through(reader(48, 48, 3, CENTER), file.getvalue())
    still = np.array(Image.open(io.BytesIO(file.getvalue())).convert("RGB"))
    (expected,), _ = through(reader(48, 48, 3, CENTER), saved("PNG", picture=still))
    np.testing.assert_array_equal(seen, expected)


def test_photographs(shared):
    """Of ImageNet: of 200, hardly a value differs, and by one."""
    files = sorted((shared / "data/imagenet_sample").glob("*.JPEG"))[::4]
    seen, whole = through(reader(224, 224, 3, {"size": 224, "resize": 256}), *(file.read_bytes() for file in files))
    expected = np.stack([read_center(file, size=224, resize=256) for file in files]).astype(int)
    assert whole.all()
    assert np.abs(seen - expected).max() <= 1
    assert (seen != expected).mean() < 1e-5


def test_what_is_no_image_is_black_and_told_and_the_others_are_not_disturbed():
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
    seen, whole = through(reader(48, 48, 3, CENTER), *files)
    assert whole.tolist() == [True, False, False, False, True, False, False, False, True]
    assert not seen[~whole].any()
    assert np.array_equal(seen[0], seen[4]) and np.array_equal(seen[0], seen[8])


def test_damaged_exif_data_mean_nothing():
    file = FILES["orientation 6"]
    at = file.index(b"Exif\0\0") + 6
    images = []
    for damage in (b"XX", b"MM\0*\xff\xff\xff\xff", b"II*\0\xff\xff\xff\x7f"):
        images.append(file[:at] + damage + file[at + len(damage) :])
    seen, whole = through(reader(48, 48, 3, None), *images)
    assert whole.all()
    upright = resize_to(cv2.imdecode(np.frombuffer(images[1], np.uint8), cv2.IMREAD_COLOR_RGB), 48, 48, 3)
    assert np.abs(seen[1] - upright.astype(int)).max() <= 1
