"""Views: the positions of their windows, and their pixels, compared with resizing the entire image."""

import io
import math
from functools import partial

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from keras_resnet.data.views import (
    DRAWS,
    aspect_ratio_window,
    center_window,
    color_offsets,
    draw_view,
    scale_window,
)
from pictures import jpeg, photograph

SIDES = st.integers(1, 3000)


def _draws(count: int, seed: int = 0) -> list[list[float]]:
    return np.random.default_rng(seed).random((count, DRAWS)).tolist()


def _is_uniform(values, low: float, high: float) -> bool:
    """The Kolmogorov-Smirnov test, at a level that one of a thousand seeds fails."""
    values = (np.sort(values) - low) / (high - low)
    steps = np.arange(len(values) + 1) / len(values)
    distance = max((steps[1:] - values).max(), (values - steps[:-1]).max())
    return distance < 1.95 / math.sqrt(len(values))


@given(height=SIDES, width=SIDES, seed=st.integers(0, 1000), crop=st.sampled_from(["scale", "aspect_ratio", "center"]))
@settings(deadline=None)
def test_every_window_is_inside_its_image(height, width, seed, crop):
    (draws,) = _draws(1, seed)
    window = {
        "scale": partial(scale_window, draws=draws, size=224, scales=(256, 480)),
        "aspect_ratio": partial(aspect_ratio_window, draws=draws, area=(0.08, 1.0)),
        "center": partial(center_window, size=224, resize=256),
    }[crop](height, width)
    assert min(window) >= 0 and min(window.height, window.width) >= 1
    assert window.top + window.height <= height and window.left + window.width <= width


def test_the_shorter_side_and_the_position_are_uniform():
    """Windows of a huge image, so that rounding to pixels is negligible."""
    height, width = 100_000, 150_000
    windows = [scale_window(height, width, draws, size=224, scales=(256, 480)) for draws in _draws(20_000)]
    sides = np.array([224 * height / window.height for window in windows])
    np.testing.assert_allclose(sides, np.rint(sides), atol=0.01)
    counts = np.bincount(np.rint(sides).astype(int))
    assert (counts[:256] == 0).all() and len(counts) == 481
    chi_squared = ((counts[256:] - 20_000 / 225) ** 2 / (20_000 / 225)).sum()
    assert chi_squared < 295  # 224 degrees of freedom: more in one of a thousand seeds
    within = np.random.default_rng(1).random(20_000)
    for start, length in (("top", height), ("left", width)):
        first = np.rint([getattr(window, start) for window in windows] * sides / height)
        assert _is_uniform((first + within) / (np.rint(length * sides / height) - 223), 0, 1)


def test_area_and_ratio_and_position_are_uniform():
    height, width = 100_000, 100_000
    windows = [aspect_ratio_window(height, width, draws, area=(0.2, 0.5)) for draws in _draws(20_000)]
    areas = [window.height * window.width / (height * width) for window in windows]
    ratios = [math.log(window.width / window.height) for window in windows]
    assert _is_uniform(areas, 0.2, 0.5)
    assert _is_uniform(ratios, math.log(3 / 4), math.log(4 / 3))
    assert _is_uniform([window.top / (height - window.height + 1) for window in windows], 0, 1)
    assert _is_uniform([window.left / (width - window.width + 1) for window in windows], 0, 1)


@pytest.mark.parametrize(("height", "width", "square"), [(10, 1000, (0, 495, 10, 10)), (901, 20, (440, 0, 20, 20))])
def test_the_centre_is_used_if_no_window_fits(height, width, square):
    for draws in _draws(20):
        assert aspect_ratio_window(height, width, draws, area=(0.9, 1.0)) == square


def test_a_window_may_be_the_entire_image():
    lowest, highest = [0.5, 0.5, *[0.5, 0.0] * 10], [0.5, 0.5, *[0.5, math.nextafter(1, 0)] * 10]  # ratios 3/4 and 4/3
    assert aspect_ratio_window(400, 300, lowest, area=(1.0, 1.0)) == (0, 0, 400, 300)
    assert aspect_ratio_window(300, 400, highest, area=(1.0, 1.0)) == (0, 0, 300, 400)


def test_the_centre_of_a_test_view():
    # Resized to 256x384 and cropped to 224x224, from row 16 and column 80 on.
    assert center_window(512, 768, size=224, resize=256) == (32, 160, 448, 448)
    assert center_window(256, 384, size=224, resize=256) == (16, 80, 224, 224)


def _file(picture: np.ndarray, kind: str = "BMP") -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, kind)
    return file.getvalue()


def _view(data: bytes, choose, size: int, **options) -> np.ndarray:
    out = np.zeros((size, size, 3), np.uint8)
    assert draw_view(out, data, choose, **options)
    return out


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("flip", [False, True])
def test_a_picture_of_its_own_coordinates_shows_its_window(seed, flip):
    """Red is the row and green the column in the image, so the view shows where each of its pixels comes from."""
    rows, columns = np.mgrid[0:240, 0:250]
    picture = np.stack([rows, columns, np.zeros_like(rows)], -1).astype(np.uint8)
    (draws,) = _draws(1, seed)
    choose = partial(scale_window, draws=draws, size=32, scales=(36, 90))
    view = _view(_file(picture), choose, 32, flip=flip).astype(float)
    side = 36 + int(draws[0] * 55)
    scale = 240 / side
    longer = round(250 / scale)
    top, left = int(draws[1] * (side - 31)), int(draws[2] * (longer - 31))
    centers = np.arange(32) + 0.5
    expected_rows = (top + centers) * scale - 0.5
    expected_columns = (left + centers) * (250 / longer) - 0.5
    # Half a pixel of the image from rounding the window, half a value from rounding the result.
    assert np.abs(view[:, :, 0] - expected_rows[:, None]).max() <= 1.1
    assert np.abs(view[:, :, 1] - (expected_columns[::-1] if flip else expected_columns)).max() <= 1.1


@pytest.mark.parametrize("seed", range(8))
def test_cropping_first_approximates_resizing_first(seed):
    picture = photograph(seed, 375, 500)
    (draws,) = _draws(1, seed)
    view = _view(_file(picture), partial(scale_window, draws=draws, size=224, scales=(256, 480)), 224)
    side = 256 + int(draws[0] * 225)
    resized = cv2.resize(picture, (round(500 * side / 375), side), interpolation=cv2.INTER_LINEAR)
    top, left = int(draws[1] * (side - 223)), int(draws[2] * (resized.shape[1] - 223))
    difference = view.astype(int) - resized[top : top + 224, left : left + 224]
    assert np.abs(difference).mean() < 3  # the grain of the photograph alone is 3 to 4


def test_a_test_view_approximates_pillows():
    picture = photograph(9, 375, 500)
    view = _view(_file(picture), partial(center_window, size=224, resize=256), 224, average=True)
    resized = Image.fromarray(picture).resize((341, 256), Image.BOX)
    difference = view.astype(int) - np.asarray(resized.crop((58, 16, 58 + 224, 16 + 224)))
    assert np.abs(difference).mean() < 2


@pytest.mark.parametrize("average", [False, True])
def test_a_small_image_is_enlarged_linearly(average):
    ramp = np.repeat(16 * np.arange(8, dtype=np.uint8), 8 * 3).reshape(8, 8, 3)
    view = _view(_file(ramp), partial(center_window, size=32, resize=32), 32, average=average)
    expected = np.interp((np.arange(32) + 0.5) / 4 - 0.5, np.arange(8), 16 * np.arange(8))
    np.testing.assert_allclose(view, np.broadcast_to(expected[:, None, None], (32, 32, 3)), atol=1)


def test_large_photographs_are_reduced_without_moire():
    """Alternating lines become grey when reduced, in a JPEG and in other formats."""
    lines = np.zeros((1200, 1200, 3), np.uint8)
    lines[::2] = 255
    for data in (_file(lines, "PNG"), jpeg(lines, quality=95)):
        view = _view(data, partial(center_window, size=112, resize=128), 112)
        assert np.abs(view.astype(int) - 128).max() < 12


def test_colour_augmentation_has_alexnets_covariance():
    """Along ImageNet's three principal components, with standard deviations of a tenth of their eigenvalues."""
    offsets = color_offsets(np.random.default_rng(0).standard_normal((400_000, 3)))
    values = (0.2175, 0.0188, 0.0045)
    components = ([-0.5675, -0.5808, -0.5836], [0.7192, -0.0045, -0.6948], [0.4009, -0.8140, 0.4203])
    expected = sum((0.1 * 255 * value) ** 2 * np.outer(p, p) for value, p in zip(values, components, strict=True))
    np.testing.assert_allclose(np.cov(offsets.T), expected + np.eye(3) / 12, atol=0.1)  # rounding adds 1/12
    np.testing.assert_allclose(offsets.mean(axis=0), 0, atol=0.03)


def test_colour_is_added_to_every_pixel_and_clipped():
    picture = photograph(3, 64, 64)
    choose = partial(center_window, size=64, resize=64)
    view = _view(_file(picture), choose, 64, color=(100, -100, 3))
    np.testing.assert_array_equal(view, np.clip(picture + np.array([100, -100, 3]), 0, 255))


def test_data_that_is_no_image_leaves_the_output_unchanged():
    out = np.full((8, 8, 3), 7, np.uint8)
    assert not draw_view(out, b"no image", partial(center_window, size=8, resize=9), color=(1, 1, 1))
    assert (out == 7).all()
