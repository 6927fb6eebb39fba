"""Ten crops and entire images at several scales: where they are cropped from, and that every image occurs once."""

import itertools
import logging
from functools import partial

import cv2
import numpy as np
import pytest

from keras_resnet.data import DataError, MultiViewBatches, load, scales_of, ten_crops_of
from keras_resnet.data.multi_view import five_crops, scaled
from keras_resnet.data.stream_batches import Split
from pictures import Album, jpeg, photograph


def png(image):
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()


def _side(files):
    return Split(Album(files), np.arange(len(files)), "album")


@pytest.mark.parametrize(("height", "width"), [(64, 80), (80, 64), (64, 64), (64, 81)])
def test_the_crops_are_the_corners_and_the_centre(height, width):
    """The shorter side needs no resizing, so that the crops are slices of the image."""
    image = photograph(0, height, width)
    crops = five_crops(png(image), size=56, resize=64)
    bottom, right = height - 56, width - 56
    origins = [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]
    for crop, (top, left) in zip(crops, origins, strict=True):
        np.testing.assert_array_equal(crop, image[top : top + 56, left : left + 56])


def test_crops_of_a_large_photograph_are_at_the_right_positions():
    """Each quarter of the photograph has a different colour."""
    image = np.zeros((600, 800, 3), np.uint8)
    image[:300, :400], image[:300, 400:], image[300:, :400] = (200, 0, 0), (0, 200, 0), (0, 0, 200)
    crops = five_crops(jpeg(image, quality=95), size=28, resize=64)
    for crop, color in zip(crops[:4], [(200, 0, 0), (0, 200, 0), (0, 0, 200), (0, 0, 0)], strict=True):
        assert np.abs(crop.astype(int) - color).max() < 12
    assert crops[4].reshape(-1, 3).std(axis=0).min() > 30  # the centre contains parts of all quarters


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((375, 500), [(64, 96), (100, 128)]),  # 4:3; 85.3 and 133.3 to multiples of 32
        ((500, 375), [(96, 64), (128, 100)]),
        ((400, 400), [(64, 64), (100, 100)]),
        ((300, 310), [(64, 64), (100, 100)]),  # never below the shorter side
        ((100, 900), [(64, 576), (100, 896)]),
    ],
)
def test_a_scaled_image_keeps_its_proportions_to_half_a_stride(shape, expected):
    views = scaled(png(photograph(1, *shape)), scales=(64, 100))
    assert [view.shape[:2] for view in views] == expected


def test_a_scaled_image_is_the_entire_image():
    image = photograph(2, 256, 320)
    (view,) = scaled(png(image), scales=(128,))
    np.testing.assert_array_equal(view, cv2.resize(image, (160, 128), interpolation=cv2.INTER_AREA))
    (view,) = scaled(png(image), scales=(256,))
    np.testing.assert_array_equal(view, image)


@pytest.mark.parametrize(("workers", "threads"), [(0, 0), (0, 3), (2, None)])
def test_every_image_occurs_once_in_order(workers, threads):
    files = [jpeg(photograph(seed, 70 + seed, 90)) for seed in range(11)]
    seen = list(MultiViewBatches(split=_side(files), cut=ten_crops_of(56, 64), workers=workers, threads=threads))
    assert [label for label, _ in seen] == list(range(11))
    for file, (_, views) in zip(files, seen, strict=True):
        assert all(map(np.array_equal, views, five_crops(file, size=56, resize=64)))


def test_an_image_that_cannot_be_decoded_has_no_views_and_is_logged(caplog):
    files = [jpeg(photograph(seed, 70, 90)) for seed in range(6)]
    files[2] = b"no image"
    images = MultiViewBatches(split=_side(files), cut=scales_of((32, 64)), threads=0)
    with caplog.at_level(logging.WARNING, "keras_resnet.data"):
        assert [len(views) for _, views in images] == [2, 2, 0, 2, 2, 2]
    assert list(images.bad.names) == ["picture 2"]
    assert "picture 2" in caplog.text


def test_too_many_bad_images_end_the_test():
    files = [jpeg(photograph(0, 70, 90)), *12 * [b"no image"]]
    with pytest.raises(DataError, match="images cannot be decoded"):
        list(MultiViewBatches(split=_side(files), cut=scales_of((32,)), threads=0))


def test_both_splits_of_a_data_set_have_views(photographs):
    data = load(f"folder:{photographs}")
    for split, count in (("test", 15), ("train", 27)):
        images = data.multi_view(scales_of((32,)), split=split)
        assert len(images) == len(list(images)) == count
    labels = [label for label, _ in itertools.islice(data.multi_view(scales_of((32,))), 6)]
    assert labels == [0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (partial(ten_crops_of, 224, 200), "Received: 224 and 200"),
        (partial(ten_crops_of, 0, 200), "Received: 0 and 200"),
        (partial(scales_of, ()), "`scales` must be one or more"),
        (partial(scales_of, (224, 31)), "at least 32 pixels"),
    ],
)
def test_views_that_do_not_fit_are_refused(make, words):
    with pytest.raises(DataError, match=words):
        make()
