"""Extracted features equal those of the network, image by image."""

from __future__ import annotations

import json

import cv2
import keras
import numpy as np
import pytest
from pyarrow import parquet

import keras_resnet
from keras_resnet.cli import main
from keras_resnet.evaluation import feature_files, source
from keras_resnet.evaluation.extraction import extract


@pytest.fixture
def network():
    keras.utils.set_random_seed(0)
    return keras_resnet.CifarResNet(8, classes=4)


@pytest.fixture
def images(tmp_path):
    """The path of a file with seven images, and the array of these images."""
    array = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), dtype=np.uint8)
    np.save(tmp_path / "images.npy", array)
    return tmp_path / "images.npy", array


def expected(network, array, tap):
    """The features of single images, by one call of the network per image."""
    rows = [np.asarray(keras_resnet.features(network, [tap]).predict_on_batch(image[None])[tap]) for image in array]
    rows = np.concatenate(rows)
    return rows.mean(axis=(1, 2)) if rows.ndim == 4 else rows


@pytest.mark.parametrize("batch", [2, 64])
def test_an_array_has_one_row_per_image(network, images, tmp_path, monkeypatch, batch):
    monkeypatch.setattr(source, "BATCH", batch)
    path, array = images
    report = extract(network, path, tmp_path / "out.npy")
    assert report == {"out": str(tmp_path / "out.npy"), "images": 7, "features": {"pooled": 64}, "errors": []}
    features = np.load(tmp_path / "out.npy")
    assert (features.dtype, features.shape) == (np.float32, (7, 64))
    np.testing.assert_allclose(features, expected(network, array, "pooled"), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pooling", [None, "avg"])
def test_a_network_without_a_top_has_features_too(images, tmp_path, capsys, pooling):
    """From a file saved by Keras itself. The default tap is the map that a top would pool, averaged."""
    path, array = images
    model = keras_resnet.CifarResNet(8, include_top=False, pooling=pooling)
    model.save(tmp_path / "b.keras")
    maps = np.asarray(model.predict_on_batch(array.astype("float32")))
    command = ["features", str(tmp_path / "b.keras"), str(path), str(tmp_path / "out.npy")]
    for more, values in (
        ([], maps if pooling else maps.mean(axis=(1, 2))),
        (["--taps", "stage2"], expected(model, array, "stage2")),
    ):
        assert main([*command, *more, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["images"] == 7
        np.testing.assert_allclose(np.load(tmp_path / "out.npy"), values, rtol=1e-4, atol=1e-5)
    assert main([*command, "--taps", "pooled"]) == 2
    assert "has the taps stem, stage1, stage2, stage3, features. Received: pooled" in capsys.readouterr().err


def test_an_archive_has_every_tap_by_name(network, images, tmp_path):
    path, array = images
    extract(network, path, tmp_path / "out.npz", ["stage2", "features", "logits"])
    archive = np.load(tmp_path / "out.npz")
    assert list(archive["image"]) == [f"{path}[{index}]" for index in range(7)]
    for tap, length in (("stage2", 32), ("features", 64), ("logits", 4)):
        assert archive[tap].shape == (7, length)
        np.testing.assert_allclose(archive[tap], expected(network, array, tap), rtol=1e-4, atol=1e-4)


def test_a_table_has_one_row_per_image_and_one_column_per_tap(network, images, tmp_path):
    path, array = images
    extract(network, path, tmp_path / "out.parquet", ["stage1", "pooled"])
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table.column_names == ["image", "stage1", "pooled"]
    assert table["image"].to_pylist()[3] == f"{path}[3]"
    np.testing.assert_allclose(
        np.array(table["pooled"].to_pylist()), expected(network, array, "pooled"), rtol=1e-4, atol=1e-5
    )


def test_files_that_cannot_be_decoded_are_skipped_and_reported(network, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "c.png"):
        cv2.imwrite(str(folder / name), np.full((40, 50, 3), 99, np.uint8))
    (folder / "b.png").write_bytes(b"no image")
    report = extract(network, folder, tmp_path / "out.npz")
    assert report["images"] == 2
    (error,) = report["errors"]
    assert "b.png: cannot be decoded as an image" in error
    assert list(np.load(tmp_path / "out.npz")["image"]) == [str(folder / "a.png"), str(folder / "c.png")]


@pytest.mark.parametrize(
    ("out", "taps", "words"),
    [
        ("out.csv", ["pooled"], r"`out` must be a file that ends in .npy, .npz, .parquet. Received: .*out.csv"),
        ("out.npy", ["stage1", "pooled"], r"A .npy file holds one tap.*Received: stage1, pooled"),
        ("out.npz", ["stage9"], r"has the taps stem, stage1, .* Received: stage9"),
    ],
)
def test_invalid_arguments_are_refused_and_nothing_is_written(network, images, tmp_path, out, taps, words):
    with pytest.raises(ValueError, match=words):
        extract(network, images[0], tmp_path / out, taps)
    assert [path.name for path in tmp_path.iterdir()] == ["images.npy"]


@pytest.mark.parametrize("out", ["folder.npy", "file/out.parquet"])
def test_a_file_that_cannot_be_written_is_refused_before_the_first_image(network, images, tmp_path, monkeypatch, out):
    (tmp_path / "folder.npy").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.setattr(source.Source, "_read", lambda *_: pytest.fail("an image was read"))
    with pytest.raises(OSError, match=str(tmp_path / out.partition("/")[0])):
        extract(network, images[0], tmp_path / out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.npy", "images.npy"]
    with pytest.raises(FileNotFoundError) as caught:
        feature_files.ArrayFile(tmp_path / "nowhere" / "out.npy", {"pooled": 1})
    assert caught.value.filename == str(tmp_path / "nowhere" / "out.npy")


@pytest.mark.parametrize("ending", ["npy", "npz", "parquet"])
def test_features_are_written_as_they_are_computed(network, tmp_path, monkeypatch, ending):
    """Before the last image is read, the features of earlier ones are in a file, and not all in memory."""
    array = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    np.save(tmp_path / "images.npy", array)
    monkeypatch.setattr(source, "BATCH", 4)
    monkeypatch.setattr(feature_files, "ROWS", 8)
    monkeypatch.setattr(feature_files, "BUFFER", 256)
    read, sizes = source.Source._read, []

    def read_and_measure(self, index):
        written = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "images.npy"]
        sizes.append(sum(path.stat().st_size for path in written))
        return read(self, index)

    monkeypatch.setattr(source.Source, "_read", read_and_measure)
    extract(network, tmp_path / "images.npy", tmp_path / f"out.{ending}")
    assert sizes[-1] - sizes[8] >= 16 * 64 * 4  # at least 16 of the rows between, of 64 float32
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images.npy", f"out.{ending}"]
    if ending == "parquet":
        assert parquet.ParquetFile(tmp_path / "out.parquet").num_row_groups == 5


def test_a_folder_without_decodable_images_is_refused(network, tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"holds no decodable image; the first error is: .*a\.png"):
        extract(network, tmp_path, tmp_path / "out.npy")
