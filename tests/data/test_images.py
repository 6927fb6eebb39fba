"""Images read from disk, compared with Pillow's reading of the same files."""

import errno
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from keras_resnet.data import DataError, list_images, read_image, resize_to
from keras_resnet.data.records import FolderSource

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (9, 14, 3), dtype=np.uint8)
# Smooth, so that the loss of JPEG is small: red increases to the right, green downwards.
RAMP = np.stack(np.broadcast_arrays(np.arange(48) * 5, np.arange(32)[:, None] * 7, 40), -1).astype(np.uint8)


@pytest.mark.parametrize("extension", ["png", "bmp", "tif", "tiff", "ppm"])
def test_lossless_files_are_read_exactly_in_rgb(tmp_path, extension):
    path = tmp_path / f"noise.{extension}"
    Image.fromarray(NOISE).save(path)
    image = read_image(path)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, NOISE)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(tmp_path, orientation):
    path = tmp_path / "ramp.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RAMP).save(path, quality=95, subsampling=0, exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(path)), int)
    image = read_image(str(path))
    assert image.shape == ((32, 48, 3) if orientation < 5 else (48, 32, 3))
    assert np.abs(image - upright).max() <= 2


def test_cmyk_becomes_rgb(tmp_path):
    path = tmp_path / "cmyk.jpg"
    Image.fromarray(RAMP).convert("CMYK").save(path, quality=100, subsampling=0)
    assert np.abs(read_image(path).astype(int) - RAMP).mean() < 3


def test_grey_becomes_rgb(tmp_path):
    Image.fromarray(NOISE[..., 0]).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), np.repeat(NOISE[..., :1], 3, axis=-1))


def test_sixteen_bits_become_eight(tmp_path):
    deep = RNG.integers(0, 2**16, (9, 14), dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    image = read_image(tmp_path / "deep.png")
    assert image.shape == (9, 14, 3)
    assert np.abs(image[..., 0] - deep / 257).max() <= 1


def test_palette_and_transparency_become_rgb(tmp_path):
    Image.fromarray(NOISE).convert("P").save(tmp_path / "palette.png")
    expected = np.asarray(Image.open(tmp_path / "palette.png").convert("RGB"))
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png"), expected)
    Image.fromarray(np.dstack([NOISE, NOISE[..., :1]])).save(tmp_path / "alpha.png")
    np.testing.assert_array_equal(read_image(tmp_path / "alpha.png"), NOISE)


def test_an_image_is_enlarged_by_cubic_interpolation():
    """With OpenCV's parameter of -0.75, so that an edge overshoots (Keys 1981, equation 4)."""

    def weight(distance: float, a: float = -0.75) -> float:
        if distance <= 1:
            return (a + 2) * distance**3 - (a + 3) * distance**2 + 1
        return a * (distance**3 - 5 * distance**2 + 8 * distance - 4) if distance < 2 else 0.0

    edge = np.repeat([50, 200], 4).astype(np.uint8)
    positions = (np.arange(16) + 0.5) / 2 - 0.5  # in pixels of the edge, which continues at both ends
    expected = [50 + 150 * sum(weight(abs(position - pixel)) for pixel in range(4, 12)) for position in positions]
    assert max(expected) > 210 and min(expected) < 40
    enlarged = resize_to(np.tile(edge[:, None], (8, 1, 1)), 16, 16, 1)
    np.testing.assert_allclose(enlarged, np.broadcast_to(np.reshape(expected, (1, 16, 1)), (16, 16, 1)), atol=1)


def _refused(path) -> str:
    with pytest.raises(DataError) as caught:
        read_image(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    assert _refused(tmp_path / "absent.png") == f"{tmp_path / 'absent.png'}: No such file or directory"
    assert _refused(tmp_path) == f"{tmp_path}: Is a directory"


@pytest.mark.parametrize("extension", ["jpg", "png", "webp"])
def test_a_file_that_cannot_be_decoded_is_named(tmp_path, extension):
    path = tmp_path / f"half.{extension}"
    Image.fromarray(RAMP).save(path)
    for data in (path.read_bytes()[: path.stat().st_size // 2], b"hello", b""):
        path.write_bytes(data)
        assert _refused(path).startswith(f"{path}: cannot be decoded as an image. Accepted: .bmp, ")


def test_a_header_that_claims_too_much_is_refused(tmp_path):
    path = tmp_path / "huge.pgm"
    path.write_bytes(b"P5 60000 60000 255\n" + bytes(100))
    assert "cannot be decoded as an image" in _refused(path)


def test_shrinking_averages_blocks():
    image = RNG.integers(0, 256, (12, 8, 3), dtype=np.uint8)
    blocks = image.reshape(6, 2, 4, 2, 3).mean(axis=(1, 3))
    assert np.abs(resize_to(image, 6, 4, 3) - blocks).max() <= 0.5


def test_the_centre_is_cut():
    wide = np.zeros((10, 31, 1), np.uint8)
    wide[:, 10:20] = 200
    assert (resize_to(wide, 5, 5, 1) == 200).all()
    assert (resize_to(wide.transpose(1, 0, 2), 5, 5, 1) == 200).all()


def test_enlarging_a_ramp_is_a_finer_ramp():
    ramp = np.tile(np.arange(0, 240, 10, dtype=np.uint8)[:, np.newaxis], (1, 24))[..., np.newaxis]
    large = resize_to(ramp, 48, 48, 1)[:, 0, 0]
    expected = (np.arange(48) + 0.5) * 5 - 5  # pixels are areas: target pixel i is at (i + 0.5) / 2 - 0.5
    assert np.abs(large - expected)[4:-4].max() <= 1


def test_an_image_of_the_target_size_is_unchanged():
    np.testing.assert_array_equal(resize_to(NOISE, 9, 14, 3), NOISE)


def test_channels():
    np.testing.assert_array_equal(resize_to(NOISE[..., :1], 9, 14, 3), np.repeat(NOISE[..., :1], 3, axis=-1))
    luma = NOISE @ [0.299, 0.587, 0.114]
    assert np.abs(resize_to(NOISE, 9, 14, 1)[..., 0] - luma).max() <= 0.51
    grey = np.repeat(NOISE[..., :1], 3, axis=-1)
    np.testing.assert_array_equal(resize_to(grey, 9, 14, 1), NOISE[..., :1])


@given(
    shape=st.tuples(st.integers(1, 300), st.integers(1, 300), st.sampled_from([1, 3])),
    target=st.tuples(st.integers(1, 64), st.integers(1, 64), st.sampled_from([1, 3])),
)
@settings(deadline=None)
def test_any_size_to_any_size(shape, target):
    resized = resize_to(np.full(shape, 77, np.uint8), *target)
    assert (resized.shape, resized.dtype) == (target, np.uint8)
    assert (resized == 77).all()


@pytest.mark.parametrize(("shape", "channels"), [((8, 8), 3), ((8, 8, 4), 3), ((8, 8, 3), 2)])
def test_other_channels_are_refused(shape, channels):
    with pytest.raises(ValueError, match=rf"`image` must have the shape .* Received: \({shape[0]}.* and {channels}"):
        resize_to(np.zeros(shape, np.uint8), 4, 4, channels)


def test_the_settings_of_opencv_are_not_changed(tmp_path):
    Image.fromarray(NOISE).save(tmp_path / "noise.png")
    threads = cv2.getNumThreads()
    resize_to(read_image(tmp_path / "noise.png"), 4, 4, 3)
    assert cv2.getNumThreads() == threads


def test_images_are_listed_in_order_from_all_folders(tmp_path):
    for name in ("b.JPEG", "a/z.png", "a/deep/er.jpg", "c.txt", "a/notes.md", "no_extension"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    for hidden in ("._b.JPEG", ".trash/c.jpg"):  # created by some operating systems
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / hidden).touch()
    listed = [path.relative_to(tmp_path) for path in list_images(str(tmp_path))]
    assert listed == [Path("a/deep/er.jpg"), Path("a/z.png"), Path("b.JPEG")]


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path):
    """As where links to some of a data set's class folders make a smaller set."""
    for name in ("all/cat/1.jpg", "all/cat/old/2.jpg", "all/dog/3.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    few, cat = tmp_path / "few", tmp_path / "all" / "cat"
    few.mkdir()
    (few / "cat").symlink_to(cat)
    (few / "mixed").mkdir()
    (few / "mixed" / "dogs").symlink_to("../../all/dog")
    expected = [few / "cat/1.jpg", few / "cat/old/2.jpg", few / "mixed/dogs/3.jpg"]
    assert list_images(few) == expected
    assert len(FolderSource(few)) == 3
    (cat / "old" / "back").symlink_to(cat)
    (cat / "itself").symlink_to(".")
    assert list_images(few) == expected


def test_no_image_is_left_out_because_it_cannot_be_read(tmp_path, monkeypatch):
    (tmp_path / "lost.jpg").symlink_to("absent")
    os.mkfifo(tmp_path / "pipe.jpg")  # no image, and reading it would take forever
    (tmp_path / "closed").mkdir()
    assert list_images(tmp_path) == [tmp_path / "lost.jpg"]
    scandir = os.scandir

    def permitted(path):  # as for another user than root, who may read everything
        if os.fspath(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", permitted)
    for read in (list_images, FolderSource):
        with pytest.raises(PermissionError, match=r"Permission denied: .*closed"):
            read(tmp_path)


def test_a_folder_without_images_is_named(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=rf"^{tmp_path}: no image in this folder\. Accepted: \.bmp, "):
        list_images(tmp_path)
    for path in (tmp_path / "absent", tmp_path / "notes.txt"):
        with pytest.raises(DataError, match=f"^{path}: no such folder"):
            list_images(path)
