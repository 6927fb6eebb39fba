"""Decoding of a window, compared with OpenCV's decoding of the entire image."""

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_resnet.data import read_image
from keras_resnet.data.decoding import Window, decode_window
from pictures import jpeg, photograph

PICTURE = photograph(0, 150, 203)
NEVER_SMALL = 10**6  # a size so large that no window is decoded at a reduced size


def _restarting(picture: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 3])[1].tobytes()


def _exif(orientation: int, picture: np.ndarray = PICTURE, **options) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return jpeg(picture, exif=exif, **options)


FILES = {
    "4:4:4": jpeg(PICTURE, subsampling=0),
    "4:2:2": jpeg(PICTURE, subsampling=1),
    "4:2:0": jpeg(PICTURE, subsampling=2, quality=40, optimize=True),
    "grey": jpeg(PICTURE, "L"),
    "cmyk": jpeg(PICTURE, "CMYK"),
    "progressive": jpeg(PICTURE, progressive=True),
    "with restarts": _restarting(PICTURE),
    "with a comment": jpeg(PICTURE, comment=b"\xff\xd9 in a comment"),
    "followed by another": jpeg(PICTURE) + jpeg(photograph(1, 40, 40)) + b"and more",
    **{f"orientation {number}": _exif(number) for number in range(1, 9)},
}


def _whole(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)


def _cut(picture: np.ndarray, window: Window) -> np.ndarray:
    return picture[window.top : window.top + window.height, window.left : window.left + window.width]


@st.composite
def _spans(draw, length: int):
    first = draw(st.integers(0, length - 1))
    return first, draw(st.integers(1, length - first))


@pytest.mark.parametrize("kind", FILES)
@given(rows=_spans(150), columns=_spans(150))
@settings(deadline=None, max_examples=15)
def test_a_window_equals_that_part_of_the_entire_image(kind, rows, columns):
    window = Window(rows[0], columns[0], rows[1], columns[1])
    sizes = []
    part = decode_window(FILES[kind], lambda *size: sizes.append(size) or window, NEVER_SMALL)
    whole = _whole(FILES[kind])
    assert sizes == [whole.shape[:2]]
    np.testing.assert_array_equal(part, _cut(whole, window))


def test_a_window_may_end_with_a_row_of_blocks():
    """The colour of whose last row is interpolated from the blocks below."""
    whole = _whole(FILES["4:2:0"])
    for bottom in range(16, 150, 16):
        part = decode_window(FILES["4:2:0"], lambda *_, bottom=bottom: Window(0, 0, bottom, 203), NEVER_SMALL)
        np.testing.assert_array_equal(part, whole[:bottom])


@pytest.mark.parametrize("kind", FILES)
def test_a_part_of_an_intact_file_is_decoded_without_warnings(kind, capfd):
    assert decode_window(FILES[kind], lambda *size: Window(3, 5, 40, 50), NEVER_SMALL).shape == (40, 50, 3)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("shrink", [2, 4, 8])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_window_is_decoded_at_a_reduced_size(shrink, orientation):
    data = _exif(orientation, photograph(0, 160, 208), quality=95)
    window = Window(16, 32, 16 * shrink, 16 * shrink)
    part = decode_window(data, lambda *size: window, 16)
    assert part.shape == (16, 16, 3)
    averaged = Image.fromarray(_cut(_whole(data), window)).reduce(shrink)
    assert np.abs(part.astype(int) - averaged).mean() < 3


def test_a_window_that_shrinks_less_is_decoded_at_full_size():
    part = decode_window(FILES["4:4:4"], lambda *size: Window(0, 0, 150, 99), 50)
    assert part.shape == (150, 99, 3)


def test_rows_below_the_window_are_not_decoded():
    data = bytearray(FILES["4:2:0"])
    data[-len(data) // 3 : -2] = bytes(len(data) // 3 - 2 + len(data) % 3 // 2)
    window = Window(3, 0, 30, 203)
    np.testing.assert_array_equal(
        decode_window(bytes(data), lambda *size: window, NEVER_SMALL), _cut(_whole(FILES["4:2:0"]), window)
    )


def _everything(data: bytes) -> np.ndarray | None:
    return decode_window(data, lambda height, width: Window(0, 0, height, width), NEVER_SMALL)


@pytest.mark.parametrize("kind", ["4:4:4", "4:2:0", "grey", "cmyk", "progressive", "with restarts"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.6, 0.98])
def test_a_truncated_jpeg_is_not_decoded(kind, share, capfd):
    data = FILES[kind]
    assert _everything(data[: int(share * len(data))]) is None
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", ["4:4:4", "4:2:0", "grey"])
def test_a_truncated_jpeg_with_an_end_marker_is_not_decoded(kind, capfd):
    closed = FILES[kind][: len(FILES[kind]) * 2 // 3] + b"\xff\xd9"
    assert _everything(closed) is None
    assert _everything(closed + jpeg(photograph(1, 40, 40)) + b"and more") is None
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", ["4:4:4", "4:2:0", "grey", "cmyk"])
def test_a_jpeg_that_lacks_only_its_end_marker_is_decoded(kind):
    np.testing.assert_array_equal(_everything(FILES[kind][:-2]), _whole(FILES[kind]))


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA", "1"])
def test_pngs_are_decoded_as_by_read_image(tmp_path, mode):
    path = tmp_path / "picture.png"
    Image.fromarray(PICTURE).convert(mode).save(path)
    np.testing.assert_array_equal(_everything(path.read_bytes()), read_image(path))


def test_a_damaged_or_truncated_png_is_not_decoded(capfd):
    file = io.BytesIO()
    Image.fromarray(PICTURE).save(file, "PNG")
    whole = file.getvalue()
    for at in range(8, len(whole), len(whole) // 40):
        assert _everything(whole[:at]) is None
        damaged = bytearray(whole)
        damaged[at] ^= 4
        assert _everything(bytes(damaged)) is None
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xda", b"no image", bytes(100), b"\x89PNG\r\n\x1a\n"])
def test_data_that_is_no_image_gives_none(data, capfd):
    assert _everything(data) is None
    assert capfd.readouterr().err == ""


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_corrupt_headers_raise_no_errors(data):
    """Whatever the bytes of a header, the result is an image or None."""
    corrupt = bytearray(FILES[data.draw(st.sampled_from(sorted(FILES)))])
    for _ in range(data.draw(st.integers(1, 4))):
        corrupt[data.draw(st.integers(2, 400))] = data.draw(st.integers(0, 255))
    part = _everything(bytes(corrupt))
    assert part is None or (part.ndim, part.dtype) == (3, np.uint8)
