"""Data sets by name: the digits, the validation split, and errors for wrong arguments."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from keras_resnet.data import DATASETS, DataError, Dataset, is_registered, load, make_available
from keras_resnet.training.recipes import recipe_for


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


def _sorted_rows(images, labels):
    rows = np.concatenate([images.reshape(len(images), -1), labels[:, np.newaxis]], axis=1)
    return rows[np.lexsort(rows.T)]


def test_digits_are_scikit_learns(digits):
    assert digits.x_train.shape == (1437, 8, 8, 1)
    assert digits.x_test.shape == (360, 8, 8, 1)
    assert (digits.image_shape(), digits.classes) == ((8, 8, 1), 10)
    assert {digits.x_train.dtype, digits.x_test.dtype} == {np.dtype(np.uint8)}
    assert {digits.y_train.dtype, digits.y_test.dtype} == {np.dtype(np.int32)}
    source = load_digits()
    scaled = np.array([[round(value * 255 / 16) for value in row] for row in source.data])
    both = np.concatenate([digits.x_train, digits.x_test]), np.concatenate([digits.y_train, digits.y_test])
    np.testing.assert_array_equal(_sorted_rows(*both), _sorted_rows(scaled, source.target))


def test_digits_split_is_stratified(digits):
    fifth = np.bincount(load_digits().target) / 5
    assert np.abs(np.bincount(digits.y_test) - fifth).max() < 1


def test_digits_ignore_and_keep_the_global_generator(digits):
    np.random.seed(1)
    expected = np.random.RandomState(1).random()
    np.testing.assert_array_equal(load("digits").x_test, digits.x_test)
    assert np.random.random() == expected


def test_digits_are_the_same_in_a_fresh_process(digits, run_alone):
    program = """
import hashlib
from keras_resnet.data import load
digits = load("digits").hold_out(100, seed=7)
print(hashlib.sha256(b"".join(getattr(digits, f).tobytes()
      for f in ("x_train", "y_train", "x_test", "y_test"))).hexdigest())
"""
    split = digits.hold_out(100, seed=7)
    arrays = split.x_train, split.y_train, split.x_test, split.y_test
    assert run_alone(program) == hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()


def test_means(digits):
    total = sum(image.astype(float) for image in digits.x_train)
    np.testing.assert_allclose(digits.mean_image, total / 1437)
    assert digits.mean_color.tolist() == [round(total.mean() / 1437)]
    assert digits.mean_color.dtype == np.uint8


def test_means_by_kind(digits):
    np.testing.assert_array_equal(digits.mean("pixel"), digits.mean_image)
    np.testing.assert_allclose(digits.mean("channel", 8), digits.x_train.mean(axis=(0, 1, 2)))
    with pytest.raises(DataError, match=r"`kind` must be one of pixel, channel\. Received: 'all'"):
        digits.mean("all")


def test_images_in_memory_have_one_size(digits):
    assert digits.image_shape(8) == digits.image_shape() == (8, 8, 1)
    for call in (digits.image_shape, lambda size: digits.mean("pixel", size)):
        with pytest.raises(DataError, match=r"`size` of digits must be 8, .*\. Received: 32"):
            call(32)
    for options in ({"size": 32}, {"resize": 32}):
        with pytest.raises(DataError, match=r"`size` of digits must be 8, .*\. Received: 32"):
            digits.test_batches(batch_size=4, **options)


def test_batches_of_either_side(digits):
    assert (digits.train_count, digits.test_count) == (1437, 360)
    batches = digits.training_batches(batch_size=100, seed=2, pad=1, flip=False, shard=(1, 2))
    images, labels = batches.batch(0, 0)
    assert (images.shape, labels.shape, len(batches)) == ((50, 8, 8, 1), (50,), 14)
    np.testing.assert_array_equal(batches.fill, digits.mean_color)
    labels = np.concatenate([y[w > 0] for _, y, w in digits.test_batches(batch_size=100)])
    np.testing.assert_array_equal(labels, digits.y_test)


def test_held_out_training_images_become_the_test_images(digits):
    split = digits.hold_out(137, seed=3)
    assert (len(split.x_train), len(split.x_test)) == (1300, 137)
    assert (split.name, split.class_names) == ("digits", digits.class_names)
    both = np.concatenate([split.x_train, split.x_test]), np.concatenate([split.y_train, split.y_test])
    np.testing.assert_array_equal(_sorted_rows(*both), _sorted_rows(digits.x_train, digits.y_train))


def test_take_reduces_the_training_images_and_keeps_the_test_images(digits):
    few, more = digits.take(50), digits.take(200)
    assert (few.train_count, more.train_count) == (50, 200)
    np.testing.assert_array_equal(few.x_train, digits.take(50).x_train)
    np.testing.assert_array_equal(few.x_test, digits.x_test)
    assert {image.tobytes() for image in few.x_train} <= {image.tobytes() for image in more.x_train}
    assert digits.take(1437).train_count == 1437
    for count in (0, 1438):
        with pytest.raises(ValueError, match=rf"`count` must be from 1 to 1437, .* Received: {count}"):
            digits.take(count)


def test_hold_out_is_a_function_of_its_seed(digits):
    first, again, other = (digits.hold_out(200, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.x_test, again.x_test)
    np.testing.assert_array_equal(first.y_train, again.y_train)
    assert not np.array_equal(first.x_test, other.x_test)


@pytest.mark.parametrize("count", [-1, 0, 1437, 5000])
def test_hold_out_refuses_counts_out_of_range(digits, count):
    with pytest.raises(
        ValueError, match=rf"`count` must be from 1 to 1436, .* 1437 training images\. Received: {count}"
    ):
        digits.hold_out(count, seed=0)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("cifar-10", "cifar10"), ("CIFAR100", "cifar100"), ("digit", "digits")],
)
def test_the_nearest_name_is_suggested_for_an_unknown_one(name, nearest):
    with pytest.raises(DataError) as caught:
        load(name)
    message = str(caught.value)
    assert message.startswith("The data set must be 'digits', 'cifar10', 'cifar100', 'folder:PATH', or a set of ")
    assert message.endswith(f"Received: {name!r}. Did you mean {nearest!r}?")


def test_a_folder_without_the_prefix_is_pointed_to(tmp_path, monkeypatch, never_prepare):
    monkeypatch.chdir(tmp_path)
    for name in ("mnst", "my photos", "./mnst"):  # without the folder, the first would be taken for mnist
        Path(name).mkdir(exist_ok=True)
        with pytest.raises(DataError, match=rf"Received: '{name}'\. Did you mean 'folder:{name}'\?$"):
            load(name)


@pytest.mark.parametrize("name", ["Cifar10", "CIFAR10", "cifar10:3.0.2", "Cifar10:3.*.*", "cifar10/default"])
def test_other_spellings_of_a_row_are_refused_wherever_they_are_used(name, tmp_path, never_prepare):
    """tensorflow-datasets accepts most of them for cifar10; they would be trained as photographs of 224x224."""
    for call in (load, make_available, lambda name, _: recipe_for(dataset=name)):
        with pytest.raises(ValueError, match=r"^The data set must be .*\. Did you mean 'cifar10'\?$"):
            call(name, tmp_path)


def test_names_of_streams_are_not_registered():
    assert is_registered("cifar10")
    assert not any(map(is_registered, ("imagenet2012:5.1.0", "cifar10_1", "folder:Cifar10")))


def test_nothing_is_suggested_for_a_name_unlike_any_other():
    with pytest.raises(
        DataError, match=r"'cifar100', 'folder:PATH', or a set .*, such as 'imagenet2012'\. Received: 'zzz'$"
    ):
        load("zzz")


def test_rows():
    assert [(name, row.pad, row.flip, len(row.class_names)) for name, row in DATASETS.items()] == [
        ("digits", 1, False, 10),
        ("cifar10", 4, True, 10),
        ("cifar100", 4, True, 100),
    ]
    fine = DATASETS["cifar100"].class_names  # the labels number the fine classes in alphabetical order
    assert list(fine) == sorted(set(fine))


def test_importing_the_package_imports_nothing_heavy(run_alone):
    program = """
import keras_resnet.data
heavy = {"keras", "tensorflow", "jax", "torch", "tensorflow_datasets", "sklearn", "cv2", "grain", "tqdm"}
print(sorted(heavy & set(sys.modules)))
"""
    assert run_alone(program) == "[]"
