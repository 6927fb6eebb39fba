"""Sets of tensorflow-datasets as streams: by name, without TensorFlow, and the errors if they are missing."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordWriter
from tensorflow_datasets.proto import tf_example_pb2

from keras_resnet.data import DataError, load
from keras_resnet.data.prepared import split_to_test
from keras_resnet.data.streams import load_stream
from pictures import jpeg, photograph


def _write_imagenet(root, labels=(0, 999, 7)) -> None:
    """Writes a prepared imagenet2012 of six training and three validation photographs of various sizes."""
    folder = root / "imagenet2012" / "5.1.0"
    folder.mkdir(parents=True)
    splits = []
    for split, split_labels in (("train", (1, 2, 3, 4, 5, 6)), ("validation", labels)):
        path = folder / f"imagenet2012-{split}.array_record-00000-of-00001"
        writer = ArrayRecordWriter(str(path), "group_size:1")
        for number, label in enumerate(split_labels):
            example = tf_example_pb2.Example()
            feature = example.features.feature
            feature["image"].bytes_list.value.append(jpeg(photograph(number, 60 + number, 90)))
            feature["label"].int64_list.value.append(label)
            feature["file_name"].bytes_list.value.append(f"{split}_{number}.JPEG".encode())
            writer.write(example.SerializeToString())
        writer.close()
        template = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
        lengths = [str(len(split_labels))]
        splits.append({"filepathTemplate": template, "name": split, "numBytes": "1", "shardLengths": lengths})
    info = {"fileFormat": "array_record", "name": "imagenet2012", "splits": splits, "version": "5.1.0"}
    (folder / "dataset_info.json").write_text(json.dumps(info))


def test_imagenet_is_opened_by_its_name(tmp_path):
    _write_imagenet(tmp_path)
    data = load("imagenet2012", tmp_path)
    assert (data.classes, data.train_count, data.test_count) == (1000, 6, 3)
    assert data.class_names[:2] == ("n01440764", "n01443537")
    ((_, labels, weights),) = data.test_batches(batch_size=4, size=32)
    assert (labels.tolist(), weights.tolist()) == ([0, 999, 7, 0], [1, 1, 1, 0])
    names = [record.name for record in data.train.source.read([5, 0])]
    assert names == ["imagenet2012 train record 5 (train_5.JPEG)", "imagenet2012 train record 0 (train_0.JPEG)"]


def test_prepared_sets_are_streamed_where_tensorflow_is_absent(tmp_path, run_alone):
    _write_imagenet(tmp_path)
    program = f"""
from keras_resnet.data import load
stream = load("imagenet2012", {str(tmp_path)!r}).training_batches(batch_size=6, seed=0, size=32).stream()
print(sorted(next(stream)[1].tolist()), sorted({{"keras", "tensorflow", "torch"}} & set(sys.modules)))
stream.close()
"""
    assert run_alone(program) == "[1, 2, 3, 4, 5, 6] []"


def test_worker_processes_open_the_set_themselves(tmp_path):
    _write_imagenet(tmp_path)
    data = load("imagenet2012", tmp_path)
    by_threads, by_worker = (data.training_batches(batch_size=3, seed=0, size=32, workers=n).stream() for n in (0, 1))
    for _ in range(3):
        for expected, received in zip(next(by_threads), next(by_worker), strict=True):
            np.testing.assert_array_equal(received, expected)
    by_threads.close(), by_worker.close()


def test_a_stream_of_cifar10_has_the_same_images_as_the_arrays(small_cifar10):
    data_dir, written = small_cifar10
    data = load_stream("cifar10", data_dir)
    assert data.class_names == tuple("0123456789")  # the fixture writes no class names
    ((images, labels, _),) = data.test_batches(batch_size=6, size=32, resize=32)
    np.testing.assert_array_equal(images, written["test"][0])
    np.testing.assert_array_equal(labels, written["test"][1])


def test_a_damaged_shard_is_a_set_of_bad_images(small_cifar10):
    """The records that can be read are returned."""
    data_dir, written = small_cifar10
    path = data_dir / "cifar10" / "3.0.2" / "cifar10-train.array_record-00001-of-00002"
    contents = bytearray(path.read_bytes())
    contents[1000:1010] = bytes(10)
    path.write_bytes(contents)
    records = load_stream("cifar10", data_dir).train.source.read(range(12))
    readable = [number for number, record in enumerate(records) if record.data]
    assert set(range(7)) <= set(readable) and 7 not in readable
    assert [records[number].label for number in readable] == written["train"][1][readable].tolist()


def test_a_split_without_labels_is_refused(tmp_path):
    _write_imagenet(tmp_path, labels=(-1, -1, -1))
    with pytest.raises(
        DataError, match=r"imagenet2012 validation record 0 .*: its label must be from 0 to 999\. Received: -1"
    ):
        load("imagenet2012", tmp_path)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("imagnet2012", "imagenet2012"), ("food_101", "food101"), ("mnst", "mnist"), ("cifar-10", "cifar10")],
)
def test_the_nearest_name_is_suggested_for_a_mistyped_one_and_nothing_downloaded(
    tmp_path, never_prepare, name, nearest
):
    with pytest.raises(DataError) as caught:
        load(name, tmp_path)
    message = str(caught.value)
    assert message.startswith("The data set must be 'digits', 'cifar10', 'cifar100', 'folder:PATH', or a set of ")
    assert message.endswith(f"Received: {name!r}. Did you mean {nearest!r}?")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["huggingface:mnist", "", "a b", "../cifar10"])
def test_invalid_names_are_refused(tmp_path, never_prepare, name, capfd):
    with pytest.raises(DataError, match=r"^The data set must be .* Received: "):
        load(name, tmp_path)
    assert capfd.readouterr().out == ""


def test_the_error_for_a_missing_imagenet_says_how_to_prepare_it(tmp_path, never_prepare):
    with pytest.raises(DataError) as caught:
        load("imagenet2012", tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{tmp_path / 'imagenet2012' / '5.1.0'}: no prepared imagenet2012 here")
    for part in ("ILSVRC2012_img_train.tar", "https://image-net.org", f"{tmp_path / 'downloads' / 'manual'}"):
        assert part in message
    assert list(tmp_path.iterdir()) == []


def test_a_set_of_other_things_than_labelled_images_is_refused(tmp_path, never_prepare):
    with pytest.raises(DataError, match=r"^imdb_reviews must have the features 'image' .* Received: 'label', 'text'$"):
        load("imdb_reviews", tmp_path)


@pytest.mark.parametrize(
    ("name", "splits", "tested"),
    [
        ("imagenet2012", ("train", "validation", "test"), "validation"),  # its test images have no labels
        ("imagenet2012_subset", ("train", "validation", "test"), "validation"),
        ("i_naturalist2018", ("train", "validation", "test"), "validation"),
        ("i_naturalist2021", ("train", "mini", "val", "test"), "val"),
        ("oxford_flowers102", ("train", "validation", "test"), "test"),
        ("food101", ("train", "validation"), "validation"),
        ("tf_flowers", ("train",), None),
    ],
)
def test_the_split_to_test_on_has_labels(name, splits, tested):
    """The splits are those that tensorflow-datasets lists in its catalogue."""
    builder = SimpleNamespace(name=name, info=SimpleNamespace(splits=dict.fromkeys(splits)))
    assert split_to_test(builder) == tested


def test_manual_downloads_are_expected_where_tensorflow_datasets_looks_for_them(tmp_path, never_prepare):
    """In the folder of all sets, also for one configuration of a set."""
    with pytest.raises(DataError, match="manually") as caught:
        load("imagenet2012_subset/1pct", tmp_path)
    assert f"The manual_dir is {tmp_path / 'downloads' / 'manual'}." in str(caught.value)


@pytest.mark.parametrize("label", [1000, 1001])
def test_a_label_beyond_the_last_class_is_refused(tmp_path, label):
    _write_imagenet(tmp_path, labels=(label, 1, 2))
    with pytest.raises(DataError, match=rf"must be from 0 to 999\. Received: {label}"):
        load("imagenet2012", tmp_path)
