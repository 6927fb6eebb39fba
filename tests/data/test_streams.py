"""Data sets of photographs on disk: the layout of a folder, the mean, and the validation split."""

import re
import shutil

import numpy as np
import pytest
from PIL import Image

from keras_resnet.data import DataError, ImageStream, StreamTestBatches, load, short_name
from pictures import jpeg, photograph


@pytest.fixture(scope="module")
def data(photographs) -> ImageStream:
    return load(f"folder:{photographs}")


def _labels(side) -> dict[str, int]:
    return {record.name: record.label for record in side.records(np.arange(len(side)))}


def test_a_folder_of_photographs(data, photographs):
    assert data.name == f"folder:{photographs}"
    assert (data.class_names, data.classes) == (("ant", "bee", "cat"), 3)
    assert (data.train_count, data.test_count) == (27, 15)
    assert [data.image_shape(size) for size in (None, 32)] == [(224, 224, 3), (32, 32, 3)]
    for side, folder in ((data.train, "train"), (data.test, "val")):
        expected = {
            str(path): ("ant", "bee", "cat").index(path.parent.name) for path in (photographs / folder).glob("*/*")
        }
        assert _labels(side) == expected


def test_views_have_224_pixels_by_default(data):
    assert data.training_batches(batch_size=2, seed=0).batch(0, 0)[0].shape == (2, 224, 224, 3)
    images, _, _ = next(iter(data.test_batches(batch_size=2)))
    assert images.shape == (2, 224, 224, 3)


def test_a_test_view_is_the_centre_of_its_photograph(data, photographs):
    images, _, _ = next(iter(data.test_batches(batch_size=15, size=28, resize=32)))
    for image, path in zip(images, sorted((photographs / "val").glob("*/*")), strict=True):
        picture = Image.open(path)
        scale = 32 / min(picture.size)
        small = picture.resize([round(side * scale) for side in picture.size], Image.BOX)
        left, top = ((side - 28) // 2 for side in small.size)
        difference = image.astype(int) - np.asarray(small.crop((left, top, left + 28, top + 28)))
        assert np.abs(difference).mean() < 8  # a pixel of the photograph is a third of a pixel of the view


def test_images_in_subfolders_of_a_class_folder_belong_to_its_class(tmp_path):
    _write(tmp_path, "train/a/2.jpg", "train/a/b/1.jpg", "train/a/b/c/3.jpg", "train/b/1.jpg", "val/a/x/1.jpg")
    _write(tmp_path, "val/b/1.jpg", "train/a/.thumbnails/1.jpg", "train/a/empty.jpg/notes.txt")
    data = load(f"folder:{tmp_path}")
    assert _labels(data.train) == {
        f"{tmp_path}/train/{name}": label
        for name, label in (("a/2.jpg", 0), ("a/b/1.jpg", 0), ("a/b/c/3.jpg", 0), ("b/1.jpg", 1))
    }
    assert _labels(data.test) == {f"{tmp_path}/val/a/x/1.jpg": 0, f"{tmp_path}/val/b/1.jpg": 1}


@pytest.mark.parametrize("name", ["val", "validation", "test"])
def test_names_of_the_test_folder_and_files_that_are_no_images(tmp_path, name):
    for side in ("train", name):
        for number in range(2):
            (tmp_path / side / "Ünder score").mkdir(parents=True, exist_ok=True)
            (tmp_path / side / "Ünder score" / f"é {number}.JPEG").write_bytes(jpeg(photograph(number, 40, 40)))
        (tmp_path / side / "Ünder score" / "notes.txt").touch()
        (tmp_path / side / "Ünder score" / ".hidden.jpg").touch()
        (tmp_path / side / ".cache").mkdir()
    data = load(f"folder:{tmp_path}")
    assert (data.class_names, data.train_count, data.test_count) == (("Ünder score",), 2, 2)
    assert sum(weights.sum() for _, _, weights in data.test_batches(batch_size=2, size=16)) == 2


def _write(root, *files: str) -> None:
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "{}: no folder 'train' in it. Accepted: one folder of images per class in PATH/train"),
        (
            ("train/a/1.jpg",),
            "{}: no folder of test images in it, named 'val' or 'validation' or 'test'. Accepted: one folder of",
        ),
        (("train/1.jpg", "val/a/1.jpg"), "{}/train: no class folders in it"),
        (("train/a/1.jpg", "val/1.jpg"), "{}/val: no class folders in it"),
        (("train/a/1.jpg", "train/b/1.txt", "val/a/1.jpg", "val/b/1.jpg"), "{}/train/b: no image in this class folder"),
        (
            ("train/a/1.jpg", *(f"val/{name}/1.jpg" for name in "bcdef")),
            "{}: the class folders of train and val differ: only in train: 'a'; only in val: 'b', 'c', 'd' and 2 more",
        ),
    ],
)
def test_a_folder_that_is_no_data_set_is_refused(tmp_path, files, message):
    _write(tmp_path, *files)
    with pytest.raises(DataError, match="^" + re.escape(message.format(tmp_path))) as caught:
        load(f"folder:{tmp_path}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["folder:~no-such-user/photos", "~no-such-user"])
def test_a_name_that_begins_like_a_home_folder_of_no_user_is_refused_as_any_other(name):
    """The standard library's `Path.expanduser` raises a `RuntimeError` for it."""
    with pytest.raises(DataError, match="~no-such-user"):
        load(name)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=rf"^{tmp_path / 'absent'}: no such folder\. Accepted: "):
        load(f"folder:{tmp_path / 'absent'}")


def test_means_are_of_the_training_photographs(data):
    views = np.concatenate([i for i, _, _ in StreamTestBatches(split=data.train, batch_size=9, size=16)])
    np.testing.assert_allclose(data.mean("pixel", 16), views.mean(axis=0))
    np.testing.assert_allclose(data.mean("channel", 16), views.mean(axis=(0, 1, 2)))
    assert data.mean("pixel", 16).shape == (16, 16, 3)
    assert data.mean("channel", 16) == pytest.approx(load(data.name).mean("channel", 16), abs=0)
    with pytest.raises(DataError, match=r"`kind` must be one of pixel, channel\. Received: 'all'"):
        data.mean("all")


def test_the_mean_is_of_a_sample_spread_evenly_over_the_set(data, monkeypatch):
    from keras_resnet.data import streams

    monkeypatch.setattr(streams, "MEAN_OF", 3)
    views = [i for i, _, _ in StreamTestBatches(split=data.train, batch_size=1, size=16)]
    expected = np.mean([views[0], views[13], views[26]], axis=(0, 1))
    np.testing.assert_allclose(load(data.name).mean("pixel", 16), expected)


def test_the_sample_may_hold_more_than_its_share_of_bad_photographs(data, photographs, tmp_path, caplog):
    """Whether there are too many bad images is decided by what reads the entire set, not by the sample."""
    shutil.copytree(photographs, tmp_path / "some")
    for path in sorted((tmp_path / "some/train").glob("*/*"))[:20]:
        path.write_bytes(b"no image")
    some = load(f"folder:{tmp_path / 'some'}")
    intact = [i[0] for i, _, _ in StreamTestBatches(split=data.train, batch_size=1, size=16)][20:]
    np.testing.assert_allclose(some.mean("pixel", 16), np.mean(intact, axis=0))
    assert caplog.messages[-1].startswith(
        f"{some.name}, train, in one pass: met images that cannot be decoded 20 times"
    )
    with pytest.raises(DataError, match="cannot be decoded"):
        list(StreamTestBatches(split=some.train, batch_size=27, size=16))


def test_take_reduces_the_training_images_and_keeps_the_test_images(data):
    few = data.take(5)
    assert (few.train_count, few.test_count) == (5, data.test_count)
    assert set(few.train.indices) < set(data.train.indices)


def test_held_out_training_images_become_the_test_images(data):
    split, same_seed, other_seed = (data.hold_out(7, seed=seed) for seed in (3, 3, 4))
    assert (split.train_count, split.test_count, split.class_names) == (20, 7, data.class_names)
    assert _labels(split.train) | _labels(split.test) == _labels(data.train)
    assert _labels(split.test) == _labels(same_seed.test) != _labels(other_seed.test)
    labels = np.concatenate([y[w > 0] for _, y, w in split.test_batches(batch_size=4, size=16)])
    assert sorted(labels) == sorted(_labels(split.test).values())


@pytest.mark.parametrize("count", [-1, 0, 27])
def test_hold_out_refuses_counts_out_of_range(data, count):
    with pytest.raises(DataError, match=rf"`count` must be from 1 to 26.*27 training images\. Received: {count}"):
        data.hold_out(count, seed=0)


def test_photographs_of_imagenette(shared):
    """Real photographs of ../shared, and the well-known mean colour of ImageNet."""
    data = load(f"folder:{shared / 'data' / 'imagenette_mini'}")
    assert (data.classes, data.train_count, data.test_count) == (10, 1000, 400)
    np.testing.assert_allclose(data.mean("channel", 64) / 255, [0.485, 0.456, 0.406], atol=0.04)


def test_streaming_needs_no_framework(photographs, run_alone):
    """TensorFlow, Keras and Torch are not imported. JAX is: grain imports it if it is installed."""
    program = f"""
if __name__ == "__main__":
    from keras_resnet.data import load
    data = load("folder:{photographs}")
    data.mean("channel", 32)
    stream = data.training_batches(batch_size=4, seed=0, size=32).stream()
    next(stream), stream.close(), list(data.test_batches(batch_size=4, size=32))
    print(sorted({{"keras", "tensorflow", "torch", "tensorflow_datasets"}} & set(sys.modules)))
"""
    assert run_alone(program) == "[]"
    assert run_alone("import sys\n" + program, tensorflow=True) == "[]"


def test_results_are_called_after_the_folder_of_photographs_however_it_is_given(monkeypatch, tmp_path):
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path / "photos")
    monkeypatch.setenv("HOME", str(tmp_path / "photos"))
    for name in ("folder:.", "folder:~", "folder:../photos/", f"folder:{tmp_path}/photos"):
        assert short_name(name) == "photos"
    assert short_name("imagenet2012:5.1.0") == "imagenet2012:5.1.0"
