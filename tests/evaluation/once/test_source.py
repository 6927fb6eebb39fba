"""Images given by the user."""

from __future__ import annotations

import os

import cv2
import numpy as np
import pytest
from pyarrow import parquet

import keras_resnet
from keras_resnet.evaluation.extraction import extract
from keras_resnet.evaluation.prediction import predict
from keras_resnet.evaluation.source import Source


def test_of_more_images_than_wanted_evenly_spaced_ones_are_taken(tmp_path):
    """A folder is sorted by class: the first five of these images are all of one class."""
    array = np.repeat(np.arange(12, dtype=np.uint8), 8 * 8 * 3).reshape(12, 8, 8, 3)
    np.save(tmp_path / "images.npy", array)
    for number, image in enumerate(array):
        folder = tmp_path / "photos" / "ab"[number // 6]
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{number:02}.png"), image)
    for source in ("images.npy", "photos"):
        for at_most, expected in ((3, [0, 6, 11]), (12, range(12)), (50, range(12)), (None, range(12))):
            images = list(Source(tmp_path / source, (8, 8, 3), None, at_most))
            assert [image[0, 0, 0] for _, image in images] == list(expected)
            assert len({name for name, _ in images}) == len(expected)


def test_a_file_name_that_is_not_utf_8_is_escaped_where_only_text_can_be_written(tmp_path):
    """In tables and in the titles of pictures. A result names the file itself."""
    model, photos = keras_resnet.CifarResNet(8, classes=3), tmp_path / "photos"
    photos.mkdir()
    path = photos / os.fsdecode(b"caf\xe9.png")
    path.write_bytes(cv2.imencode(".png", np.zeros((32, 32, 3), np.uint8))[1].tobytes())
    out = tmp_path / os.fsdecode(b"\xe9.parquet")
    extract(model, photos, out)
    with out.open("rb") as file:  # PyArrow itself opens no file of such a name
        assert parquet.read_table(file)["image"].to_pylist() == [f"{photos}/caf\\udce9.png"]
    (result,) = predict(model, photos, [os.fsdecode(b"\xe9")] * 3, explain=tmp_path / "why")
    assert result["image"] == str(path)
    assert os.listdir(os.fsencode(tmp_path / "why")) == [b"caf\xe9.png.png"]


def test_a_damaged_array_is_reported_as_such_whatever_byte_of_it_is_damaged(tmp_path):
    """NumPy raises many kinds of errors. Damage to some bytes, such as spaces, may go unnoticed."""
    path = tmp_path / "images.npy"
    np.save(path, np.zeros((1, 8, 8, 3), np.uint8))
    intact, refused = path.read_bytes(), 0
    for number in range(128):
        path.write_bytes(intact[:number] + b"(" + intact[number + 1 :])
        try:
            Source(path, (8, 8, 3), None)
        except ValueError as error:
            assert str(error).startswith(f"{str(path)!r} ")
            refused += 1
    assert refused > 64
    path.write_bytes(intact[:-1])
    with pytest.raises(ValueError, match=r"images\.npy' is not an array of images: "):
        Source(path, (8, 8, 3), None)
