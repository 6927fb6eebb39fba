"""Missing sets are prepared by one process at a time, with TensorFlow, or refused with a one-line error."""

import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils.file_utils import incomplete_dir

from keras_resnet.data import DATASETS, DataError, load, make_available, preparing


@pytest.fixture
def with_tensorflow(monkeypatch):
    """Makes TensorFlow count as installed on every backend."""
    monkeypatch.setattr(preparing, "find_spec", lambda name: name)


def test_the_remains_of_a_killed_preparation_are_removed_by_the_next(
    tmp_path, alone, write_cifar10, with_tensorflow, monkeypatch
):
    pytest.importorskip("tensorflow")
    program = f"""
import os, time
import tensorflow_datasets as tfds
from keras_resnet.data import load

def stall(manager, url):
    os.write(1, b"stalled")
    time.sleep(60)

tfds.download.DownloadManager.download_and_extract = stall
load("cifar10", {str(tmp_path)!r})
"""
    with subprocess.Popen(
        alone(program, tensorflow=True), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout.read(7) == b"stalled"
        process.kill()
    assert any((tmp_path / "cifar10").rglob("incomplete.*"))
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", _stand_in(write_cifar10))
    assert len(load("cifar10", tmp_path).x_train) == 12
    assert sorted(path.name for path in (tmp_path / "cifar10").iterdir()) == [".lock", "3.0.2"]


def test_the_incomplete_folder_of_another_program_is_refused_and_not_changed(
    tmp_path, refused, never_prepare, with_tensorflow
):
    """The program may be running."""
    (tmp_path / "cifar10" / "incomplete.ABC_3.0.2").mkdir(parents=True)
    (tmp_path / "cifar10" / ".lock").touch()  # of an earlier preparation
    message = refused(tmp_path)
    assert message.startswith(f"{tmp_path / 'cifar10' / 'incomplete.'}")
    assert "another program with tensorflow-datasets is preparing cifar10, or was interrupted" in message


def test_preparing_needs_tensorflow(tmp_path, run_alone):
    program = f"""
from keras_resnet.data import DataError, load
try:
    load("cifar10", {str(tmp_path)!r})
except DataError as error:
    print(error)
"""
    message = run_alone(program)
    assert message.startswith(f"{tmp_path / 'cifar10' / '3.0.2'}: no prepared cifar10 here")
    assert "pip install '.[tensorflow]'" in message
    assert list(tmp_path.iterdir()) == []


def test_a_missing_set_is_prepared_as_array_record(tmp_path, write_cifar10, with_tensorflow, monkeypatch):
    calls = []

    def prepare(builder, **kwargs):
        calls.append(kwargs)
        write_cifar10(builder.data_dir_root)
        builder.info.set_file_format(kwargs["file_format"], override=True)
        builder.info.read_from_directory(builder.data_path)

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", prepare)
    for _ in range(2):
        assert len(load("cifar10", tmp_path).x_train) == 12
    assert calls == [{"file_format": "array_record", "download_dir": str(tmp_path / "downloads")}]


def test_the_error_for_a_failed_download_is_one_line(tmp_path, with_tensorflow, monkeypatch):
    def prepare(builder, **kwargs):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", prepare)
    with pytest.raises(DataError, match=r"cifar10/3\.0\.2: cifar10 could not be downloaded and prepared: no route\.$"):
        load("cifar10", tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["cifar10", ".lock"]


def _stand_in(write, meanwhile=lambda: None):
    """Replaces `download_and_prepare`: writes a small set through the incomplete folder of tensorflow-datasets."""

    def prepare(builder, **kwargs):
        with incomplete_dir(builder.data_dir) as unfinished:
            meanwhile()
            write(source := Path(builder.data_dir_root) / "source")
            shutil.copytree(source / "cifar10" / "3.0.2", unfinished, dirs_exist_ok=True)
            shutil.rmtree(source)

    return prepare


def test_a_second_process_waits_and_reads_the_prepared_set(
    tmp_path, write_cifar10, with_tensorflow, monkeypatch, caplog
):
    data_dir, threads = tmp_path / "data", []
    data_dir.mkdir()

    def start_second():
        threads.append(second := threading.Thread(target=lambda: loaded.append(load("cifar10", data_dir))))
        second.start()
        deadline = time.monotonic() + 10
        while "Waiting" not in caplog.text and second.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)

    loaded: list = []
    prepare = _stand_in(write_cifar10, start_second)
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", prepare)
    loaded.append(load("cifar10", data_dir))
    (second,) = threads  # a second preparation would have started another thread
    second.join(timeout=10)
    assert [len(data.x_train) for data in loaded] == [12, 12]
    (line,) = caplog.messages
    assert line == f"Waiting for another process to prepare cifar10 in {data_dir / 'cifar10'}"
    make_available("cifar10", data_dir)  # already prepared
    assert len(threads) == 1


def test_a_terminated_preparation_leaves_no_incomplete_files(tmp_path, alone):
    program = f"""
import os, time
import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils.file_utils import incomplete_dir
from keras_resnet.data import load, preparing

def stall(builder, **kwargs):
    with incomplete_dir(builder.data_dir):
        os.write(1, b"stalled")
        time.sleep(60)

preparing.find_spec = lambda name: name
tfds.core.DatasetBuilder.download_and_prepare = stall
load("cifar10", {str(tmp_path)!r})
"""
    with subprocess.Popen(alone(program), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout.read(7) == b"stalled"
        assert any((tmp_path / "cifar10").rglob("incomplete.*"))
        process.terminate()
        assert process.wait(timeout=30) == -signal.SIGTERM
    assert [path.name for path in (tmp_path / "cifar10").iterdir()] == [".lock"]


def test_nothing_is_prepared_in_a_folder_that_cannot_be_written(tmp_path, refused, never_prepare, with_tensorflow):
    (tmp_path / "cifar10").touch()  # in place of a folder
    assert "cifar10 cannot be prepared here: " in refused(tmp_path)


def test_tensorflow_datasets_prepares_cifar100_with_fine_labels(tmp_path, monkeypatch):
    """The real preparation, with a small archive in CIFAR-100's binary format instead of the download."""
    pytest.importorskip("tensorflow")
    rng = np.random.default_rng(0)
    source = tmp_path / "source" / "cifar-100-binary"
    source.mkdir(parents=True)
    records = rng.integers(0, 256, (30, 2 + 3072), dtype=np.uint8)  # coarse label, fine label, CHW pixels
    records[:, 0], records[:, 1] = rng.integers(0, 20, 30), rng.integers(0, 100, 30)
    (source / "train.bin").write_bytes(records[:20].tobytes())
    (source / "test.bin").write_bytes(records[20:].tobytes())
    (source / "fine_label_names.txt").write_text("\n".join(DATASETS["cifar100"].class_names))
    (source / "coarse_label_names.txt").write_text("\n".join(f"coarse {i}" for i in range(20)))
    manager = tfds.download.DownloadManager
    monkeypatch.setattr(manager, "download_and_extract", lambda self, url: str(source.parent))

    data_dir = tmp_path / "data"
    data_dir.mkdir()
    first, second = load("cifar100", data_dir), load("cifar100", data_dir)

    def by_pixels(images, labels):
        return sorted((image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True))

    prepared = data_dir / "cifar100" / "3.0.2"
    assert not any(b".partial-" in path.read_bytes() for path in prepared.iterdir()), "names the temporary folder"
    assert {path.name for path in prepared.parent.iterdir()} == {".lock", "3.0.2"}

    pixels = records[:, 2:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    assert by_pixels(first.x_train, first.y_train) == by_pixels(pixels[:20], records[:20, 1])
    assert by_pixels(first.x_test, first.y_test) == by_pixels(pixels[20:], records[20:, 1])
    np.testing.assert_array_equal(first.x_train, second.x_train)


def test_another_user_may_take_the_lock_that_was_left_in_a_common_folder(tmp_path):
    """The file remains after a preparation, and a lock can only be taken by who may write to it."""
    with preparing._locked("cifar10", tmp_path / "cifar10" / "3.0.2"):
        pass
    assert (tmp_path / "cifar10" / ".lock").stat().st_mode & 0o777 == 0o666
