"""Reading sets of tensorflow-datasets without TensorFlow, and errors for incomplete or damaged sets."""

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds

from keras_resnet.data import DataError, load

TEST_SHARD = "cifar10-test.array_record-00001-of-00002"


def test_arrays_equal_the_stored_images_and_labels_in_order(small_cifar10, never_prepare):
    data_dir, written = small_cifar10
    read = load("cifar10", str(data_dir))
    for images, labels, split in (
        (read.x_train, read.y_train, "train"),
        (read.x_test, read.y_test, "test"),
    ):
        np.testing.assert_array_equal(images, written[split][0])
        np.testing.assert_array_equal(labels, written[split][1])
        assert (images.dtype, labels.dtype) == (np.uint8, np.int32)
    assert (read.name, read.image_shape(), read.classes) == ("cifar10", (32, 32, 3), 10)


def test_the_default_folder_is_read_where_tensorflow_is_absent(small_cifar10, run_alone):
    data_dir, written = small_cifar10
    program = """
from keras_resnet.data import load
cifar10 = load("cifar10")
print(cifar10.y_train.tolist(), "tensorflow" in sys.modules)
"""
    printed = run_alone(program, TFDS_DATA_DIR=str(data_dir))
    assert printed == f"{written['train'][1].tolist()} False"


def test_reading_does_not_import_an_installed_tensorflow(small_cifar10, run_alone):
    program = f"""
import sys
from keras_resnet.data import load
load("cifar10", {str(small_cifar10[0])!r})
print("tensorflow" in sys.modules)
"""
    assert run_alone(program, tensorflow=True) == "False"


def _remove_shard(folder: Path) -> None:
    (folder / TEST_SHARD).unlink()


def _truncate_shard(folder: Path, size: int) -> None:
    os.truncate(folder / TEST_SHARD, size)


def _damage_shard(folder: Path) -> None:
    data = bytearray((folder / TEST_SHARD).read_bytes())
    data[1000:1010] = bytes(10)
    (folder / TEST_SHARD).write_bytes(data)


def _remove_info(folder: Path) -> None:
    (folder / "dataset_info.json").unlink()


def _truncate_info(folder: Path) -> None:
    os.truncate(folder / "dataset_info.json", 100)


def _edit_info(folder: Path, edit) -> None:
    info = json.loads((folder / "dataset_info.json").read_text())
    edit(info)
    (folder / "dataset_info.json").write_text(json.dumps(info))


def _empty_folder(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.parametrize(
    ("break_it", "expected"),
    [
        (_empty_folder, "dataset_info.json is missing"),
        (_remove_info, "dataset_info.json is missing"),
        (_truncate_info, "cannot be opened"),
        (lambda f: _edit_info(f, lambda info: info.update(version="3.0.1")), "cannot be opened"),
        (
            lambda f: _edit_info(f, lambda info: info.update(fileFormat="tfrecord")),
            "must be prepared as array_record. Received: tfrecord",
        ),
        (
            lambda f: _edit_info(f, lambda info: info["splits"].pop()),
            "must have the splits train, and .* Received: train",
        ),
        (
            lambda f: _edit_info(f, lambda info: info["splits"][1].update(shardLengths=["4", "3"])),
            f"{TEST_SHARD}: the shard is damaged",
        ),
        (_remove_shard, f"1 of 4 shards are missing, the first is {TEST_SHARD}"),
        (lambda f: _truncate_shard(f, 0), f"{TEST_SHARD}: the shard is damaged"),
        (lambda f: _truncate_shard(f, 70_000), f"{TEST_SHARD}: the shard is damaged"),
        (_damage_shard, f"{TEST_SHARD}: the shard is damaged"),
    ],
)
def test_an_incomplete_or_damaged_set_is_refused_and_unchanged(
    small_cifar10, refused, never_prepare, break_it, expected
):
    data_dir, _ = small_cifar10
    break_it(data_dir / "cifar10" / "3.0.2")
    message = refused(data_dir)
    assert re.search(expected, message)


@pytest.mark.parametrize("damage", ["empty", "truncated", "one pixel"])
def test_a_corrupt_image_is_named(tmp_path, write_cifar10, refused, never_prepare, damage):
    side = 1 if damage == "one pixel" else 32
    whole = cv2.imencode(".png", np.zeros((side, side, 3), np.uint8))[1].tobytes()
    data = {"empty": b"", "truncated": whole[:-20], "one pixel": whole}[damage]
    write_cifar10(tmp_path, replace={5: data})
    message = refused(tmp_path)
    assert f"{TEST_SHARD}: record 'test_00005' (number 5 of test) holds no image" in message


def test_a_missing_folder_is_not_created(tmp_path):
    with pytest.raises(DataError, match=r"absent: no such folder. Give one that holds a prepared cifar10"):
        load("cifar10", tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file: no such folder"):
        load("cifar10", tmp_path / "file")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


@pytest.fixture(scope="module")
def cifar10(tfds_dir):
    return load("cifar10", tfds_dir)


def test_cifar10_has_its_published_counts_and_mean(cifar10):
    assert cifar10.x_train.shape == (50_000, 32, 32, 3)
    assert cifar10.x_test.shape == (10_000, 32, 32, 3)
    assert np.bincount(cifar10.y_train).tolist() == [5000] * 10
    assert np.bincount(cifar10.y_test).tolist() == [1000] * 10
    np.testing.assert_allclose(cifar10.mean_image.mean(axis=(0, 1)), [125.3, 123.0, 113.9], atol=0.1)
    assert cifar10.mean_color.tolist() == [125, 123, 114]


def test_cifar10_equals_what_tensorflow_datasets_decodes(cifar10, tfds_dir):
    builder = tfds.builder("cifar10", data_dir=tfds_dir)
    assert cifar10.class_names == tuple(builder.info.features["label"].names)
    for split, images, labels in (
        ("train", cifar10.x_train, cifar10.y_train),
        ("test", cifar10.x_test, cifar10.y_test),
    ):
        source = builder.as_data_source(split)
        for key in (*range(20), *range(500, len(source), 997), len(source) - 1):
            np.testing.assert_array_equal(images[key], source[key]["image"])
            assert labels[key] == source[key]["label"]


def test_cifar10_is_the_same_in_a_fresh_process_without_tensorflow(cifar10, tfds_dir, run_alone):
    program = f"""
import hashlib
from keras_resnet.data import load
cifar10 = load("cifar10", {str(tfds_dir)!r})
print(hashlib.sha256(cifar10.x_train).hexdigest(), hashlib.sha256(cifar10.y_test).hexdigest())
"""
    expected = [hashlib.sha256(array).hexdigest() for array in (cifar10.x_train, cifar10.y_test)]
    assert run_alone(program).split() == expected
