"""Fixtures of the data tests: sets in ../shared, small prepared sets, and processes without TensorFlow."""

import json
import os
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from tensorflow_datasets.proto import tf_example_pb2

import launch
from keras_resnet.data import DataError, load
from pictures import jpeg, photograph


@pytest.fixture(scope="session")
def tfds_dir(shared) -> Path:
    """The folder of ../shared that holds CIFAR-10 as tensorflow-datasets prepares it."""
    return shared / "data" / "tfds"


@pytest.fixture(scope="session")
def alone():
    """Returns the command that runs a program in a new process, in which TensorFlow is absent unless asked for."""

    def command(program: str, tensorflow: bool = False) -> list[str]:
        return launch.without(set() if tensorflow else {"tensorflow"}, program)

    return command


@pytest.fixture(scope="session")
def run_alone(alone):
    """Runs a program as `alone` and returns what it printed. It must not write to stderr."""

    def run(program: str, tensorflow: bool = False, **environment: str) -> str:
        result = subprocess.run(
            alone(program, tensorflow),
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert (result.returncode, result.stderr) == (0, "")
        return result.stdout.strip()

    return run


@pytest.fixture(scope="session")
def photographs(tmp_path_factory) -> Path:
    """A folder of photographs: 3 classes, 9 + 5 JPEGs each, all of different sizes."""
    root = tmp_path_factory.mktemp("photographs")
    seed = 0
    for side, count in (("train", 9), ("val", 5)):
        for name in ("ant", "bee", "cat"):
            (root / side / name).mkdir(parents=True)
            for number in range(count):
                seed += 1
                data = jpeg(photograph(seed, 50 + 3 * seed, 150 - 2 * seed), quality=90)
                (root / side / name / f"{number}.jpg").write_bytes(data)
    return root


@pytest.fixture(scope="session")
def write_cifar10():
    """Returns the function that writes a small prepared CIFAR-10."""
    return _write_cifar10


def _write_cifar10(root: Path, replace: dict[int, bytes] | None = None) -> dict[str, tuple]:
    """Writes a prepared CIFAR-10 of 12 + 6 noise images, two shards per split, without tensorflow-datasets.

    `replace` maps indices of test images to the bytes to store instead. Returns (images, labels) by split.
    """
    folder = root / "cifar10" / "3.0.2"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    written, split_infos = {}, []
    for split, lengths in (("train", (7, 5)), ("test", (4, 2))):
        images = rng.integers(0, 256, (sum(lengths), 32, 32, 3), dtype=np.uint8)
        labels = rng.integers(0, 10, sum(lengths))
        written[split] = images, labels
        stored = [cv2.imencode(".png", image[..., ::-1])[1].tobytes() for image in images]
        if split == "test":
            for index, data in (replace or {}).items():
                stored[index] = data
        first = 0
        for shard, length in enumerate(lengths):
            path = folder / f"cifar10-{split}.array_record-{shard:05d}-of-{len(lengths):05d}"
            writer = ArrayRecordWriter(str(path), "group_size:1")
            for key in range(first, first + length):
                example = tf_example_pb2.Example()
                feature = example.features.feature
                feature["image"].bytes_list.value.append(stored[key])
                feature["label"].int64_list.value.append(labels[key])
                feature["id"].bytes_list.value.append(f"{split}_{key:05d}".encode())
                writer.write(example.SerializeToString())
            writer.close()
            first += length
        split_infos.append(
            {
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                "name": split,
                "numBytes": "1",
                "shardLengths": [str(length) for length in lengths],
            }
        )
    info = {"fileFormat": "array_record", "name": "cifar10", "splits": split_infos, "version": "3.0.2"}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return written


@pytest.fixture
def small_cifar10(tmp_path):
    """(data_dir, (images, labels) by split) of a small prepared CIFAR-10."""
    return tmp_path, _write_cifar10(tmp_path)


@pytest.fixture
def never_prepare(monkeypatch):
    """Fails the test if a set is prepared."""

    def prepare(*args, **kwargs):
        raise AssertionError("download_and_prepare was called")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", prepare)


@pytest.fixture(scope="session")
def refused():
    """Returns a function that checks that load("cifar10", data_dir) fails, with one line, and changes nothing."""

    def line(data_dir: Path) -> str:
        before = _contents(data_dir)
        with pytest.raises(DataError) as caught:
            load("cifar10", data_dir)
        message = str(caught.value)
        assert "\n" not in message
        assert str(data_dir) in message
        assert _contents(data_dir) == before
        return message

    return line


def _contents(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}
