"""Prediction returns the most probable classes of images in files, folders and arrays."""

from __future__ import annotations

import cv2
import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet import saving
from keras_resnet.evaluation.prediction import predict

NAMES = [f"class {number}" for number in range(12)]


def probabilities(image):
    """The probabilities that the network of `pixels` returns for an image."""
    powers = np.exp(image.astype(float).ravel() / 10)
    return powers / powers.sum()


def expected(image, top=5):
    """The classes of an image, the most probable first."""
    row = probabilities(image)
    return [(int(number), f"class {number}", row[number]) for number in np.argsort(-row)[:top]]


def check(result, image, top=5):
    for row, (number, name, probability) in zip(result["classes"], expected(image, top), strict=True):
        assert (row["class"], row["name"]) == (number, name)
        assert row["probability"] == pytest.approx(probability, abs=2e-6)


@pytest.fixture
def images():
    """130 images, a little more than two batches, each with 12 different values."""
    rng = np.random.default_rng(0)
    return np.stack([rng.permutation(120)[:12].reshape(2, 2, 3) for _ in range(130)]).astype("uint8")


@pytest.mark.parametrize("end", ["softmax", "linear"])
def test_a_file_in_colour(pixels, images, tmp_path, end):
    """From probabilities, or from logits, which the checkpoints of a run return."""
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), images[0][..., ::-1])
    (result,) = predict(pixels(end=end), path, NAMES)
    assert result["image"] == str(path)
    check(result, images[0])


def test_a_grey_file_is_converted_to_rgb_for_a_network_of_three_channels(pixels, tmp_path):
    grey = np.array([[10, 50], [90, 30]], np.uint8)
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    (result,) = predict(pixels(end="softmax"), tmp_path / "grey.png", NAMES, top=3)
    assert {row["class"] for row in result["classes"]} == {6, 7, 8}  # the channels of the brightest pixel


def test_a_colour_file_is_converted_to_grey_for_a_network_of_one_channel(pixels, tmp_path):
    bgr = np.array([[[0, 0, 200], [0, 200, 0]], [[200, 0, 0], [10, 10, 10]]], np.uint8)  # red, green, blue
    cv2.imwrite(str(tmp_path / "photo.png"), bgr)
    (result,) = predict(pixels((2, 2, 1), end="softmax"), tmp_path / "photo.png", top=4)
    assert [row["class"] for row in result["classes"]] == [1, 0, 2, 3]  # green is the brightest, then red
    view = {"size": 2, "resize": 2}
    (result,) = predict(pixels((2, 2, 1), end="softmax"), tmp_path / "photo.png", top=4, view=view)
    assert [row["class"] for row in result["classes"]] == [1, 0, 2, 3]


def test_a_folder_and_its_subfolders_in_the_order_of_names(pixels, images, tmp_path):
    (tmp_path / "b").mkdir()
    paths = [tmp_path / name for name in ("a.png", "b/c.PNG", "d.bmp")]
    for path, image in zip(paths, images, strict=False):
        cv2.imwrite(str(path), image[..., ::-1])
    (tmp_path / "notes.txt").write_text("no image")
    results = predict(pixels(end="softmax"), tmp_path, NAMES)
    assert [result["image"] for result in results] == list(map(str, paths))
    for result, image in zip(results, images, strict=False):
        check(result, image)


def test_undecodable_files_in_a_folder_do_not_affect_other_results(pixels, images, tmp_path):
    """They fill an entire batch, are among others, and at the end."""
    for index, image in enumerate(images):
        cv2.imwrite(str(tmp_path / f"{index:03}.png"), image[..., ::-1])
    broken = {*range(64), 70, 129}
    for index in broken:
        (tmp_path / f"{index:03}.png").write_bytes(b"no image")
    results = predict(pixels(end="softmax"), tmp_path, NAMES)
    assert [result["image"] for result in results] == [str(tmp_path / f"{index:03}.png") for index in range(130)]
    for index, (result, image) in enumerate(zip(results, images, strict=True)):
        if index in broken:
            assert result["error"].startswith(f"{tmp_path / f'{index:03}.png'}: cannot be decoded as an image")
            assert "classes" not in result
        else:
            check(result, image)


def test_probabilities_of_very_large_logits_are_numbers(tmp_path):
    layers = [keras.layers.Flatten(), keras.layers.Rescaling(10.0), keras.layers.Activation("linear")]
    np.save(tmp_path / "image.npy", np.array([[[[200], [100]], [[200], [0]]]], np.uint8))
    (result,) = predict(keras.Sequential([keras.Input((2, 2, 1)), *layers]), tmp_path / "image.npy")
    assert [row["class"] for row in result["classes"]] == [0, 2, 1, 3]
    assert [row["probability"] for row in result["classes"]] == [0.5, 0.5, 0.0, 0.0]


def test_an_array_may_be_black_and_its_values_are_rounded(pixels, tmp_path):
    nearly_equal = np.full((1, 2, 2, 3), 9.6)
    nearly_equal[0, 0, 0, 0] = 10.4
    for array in (nearly_equal, np.zeros((1, 2, 2, 3))):
        np.save(tmp_path / "image.npy", array)
        (result,) = predict(pixels(end="softmax"), tmp_path / "image.npy")
        assert result["classes"][0]["probability"] == pytest.approx(1 / 12, abs=1e-6)


def test_a_photograph_is_cropped_as_in_testing(pixels, images, tmp_path):
    """Shorter side 4, centre 2x2: of 8x16 pixels, the 4x4 in the centre, averaged by 2x2."""
    photo = np.zeros((8, 16, 3), np.uint8)
    photo[2:6, 6:10] = images[0].repeat(2, axis=0).repeat(2, axis=1)
    cv2.imwrite(str(tmp_path / "photo.png"), photo[..., ::-1])
    (result,) = predict(pixels(end="softmax"), tmp_path / "photo.png", NAMES, view={"size": 2, "resize": 4})
    check(result, images[0])


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float32"])
def test_an_array_of_many_images_in_order(pixels, images, tmp_path, dtype):
    path = tmp_path / "images.npy"
    np.save(path, images.astype(dtype))
    results = predict(pixels(end="softmax"), path, NAMES)
    assert [result["image"] for result in results] == [f"{path}[{index}]" for index in range(130)]
    for result, image in zip(results, images, strict=True):
        check(result, image)


def test_an_array_of_one_image(pixels, images, tmp_path):
    np.save(tmp_path / "image.npy", images[3])
    (result,) = predict(pixels(end="softmax"), tmp_path / "image.npy", NAMES)
    check(result, images[3])


def test_a_larger_image_is_cropped_and_resized(pixels, tmp_path):
    image = np.zeros((20, 40, 3), np.uint8)
    image[:10, 20:30] = 90  # in the centred square, the upper right
    cv2.imwrite(str(tmp_path / "wide.png"), image)
    (result,) = predict(pixels(end="softmax"), tmp_path / "wide.png", top=3)
    assert {row["class"] for row in result["classes"]} == {3, 4, 5}


@pytest.mark.parametrize("top", [1, 3, 12, 50])
def test_the_top_classes_have_decreasing_probabilities_with_a_sum_of_at_most_one(pixels, images, tmp_path, top):
    np.save(tmp_path / "images.npy", images)
    results = predict(pixels(end="softmax"), tmp_path / "images.npy", NAMES, top)
    assert len(results) == len(images)
    for result in results:
        values = [row["probability"] for row in result["classes"]]
        assert len(values) == min(top, 12)
        assert values == sorted(values, reverse=True)
        assert sum(values) <= 1 + 12 * 5e-7  # each is rounded to six digits


def test_without_names_classes_are_named_by_index(pixels, images, tmp_path):
    np.save(tmp_path / "image.npy", images[0])
    (result,) = predict(pixels(end="softmax"), tmp_path / "image.npy")
    assert all(row["name"] == str(row["class"]) for row in result["classes"])


def refused(source, *words, model, **options):
    with pytest.raises(ValueError) as caught:
        predict(model, source, **options)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_sources_without_images_are_refused_by_name(pixels, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    refused(tmp_path / "broken.png", "broken.png", "cannot be decoded as an image", ".png", model=pixels())
    refused(tmp_path / "nothing.png", "nothing.png", "No such file", model=pixels())
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "empty", "no image", ".png", model=pixels())


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros(3), ("(n, height, width, channels)", "(3,)")),
        (np.zeros((8, 8)), ("(8, 8)",)),
        (np.zeros((5, 8, 8)), (" (5, 8, 8)", "or one image")),
        (np.zeros((2, 8, 8, 4), np.uint8), ("1 or 3 channels", "(2, 8, 8, 4)")),
        (np.zeros((0, 8, 8, 3), np.uint8), ("(0, 8, 8, 3)",)),
        (np.full((2, 8, 8, 3), -1), ("0 to 255",)),
        (np.full((2, 8, 8, 3), 256), ("0 to 255", "int64 from 256 to 256")),
        (np.zeros((2, 0, 8, 3)), ("(2, 0, 8, 3)",)),
        (np.full((2, 8, 8, 3), np.nan), ("0 to 255", "float64 from nan to nan")),
        (np.full((2, 8, 8, 3), 0.5), ("0 to 1", "multiply", "255")),
        (np.array([["a"]]), ("(1, 1)",)),
        (np.full((1, 2, 2, 3), "a"), ("0 to 255",)),
        (np.array([{}]), ("not an array of images",)),
    ],
)
def test_an_array_of_something_else_is_refused_with_what_it_contains(pixels, tmp_path, array, words):
    np.save(tmp_path / "array.npy", array, allow_pickle=True)
    refused(tmp_path / "array.npy", "array.npy", *words, model=pixels())


def test_a_file_that_is_no_array_is_refused(pixels, tmp_path):
    (tmp_path / "text.npy").write_text("hello")
    refused(tmp_path / "text.npy", "text.npy", "not an array of images", model=pixels())
    (tmp_path / "empty.npy").touch()
    refused(tmp_path / "empty.npy", "empty.npy", "not an array of images", model=pixels())
    np.savez(tmp_path / "several.npz", a=np.zeros(1))
    (tmp_path / "several.npz").rename(tmp_path / "several.npy")
    refused(tmp_path / "several.npy", "several.npy", "not an array of images", model=pixels())
    refused(tmp_path / "nothing.npy", "nothing.npy", model=pixels())


def test_names_of_other_classes_and_an_empty_top_are_refused(pixels, images, tmp_path):
    np.save(tmp_path / "image.npy", images[0])
    refused(tmp_path / "image.npy", "12 classes", "3", model=pixels(), class_names=["a", "b", "c"])
    refused(tmp_path / "image.npy", "at least 1", "0", model=pixels(), top=0)


@pytest.mark.parametrize(
    ("view", "words"),
    [
        ({"size": 2}, ('"resize"', "{'size': 2}")),
        ({"size": 4, "resize": 2}, ('"resize" of at least "size"', "4")),
        ({"size": "2", "resize": 2}, ("'2'",)),
        ({"size": 3, "resize": 4}, ("(2, 2, 3)", "'size': 3")),
        ([2, 4], ("[2, 4]",)),
    ],
)
def test_a_view_that_does_not_fit_is_refused(pixels, tmp_path, view, words):
    cv2.imwrite(str(tmp_path / "photo.png"), np.zeros((8, 8, 3), np.uint8))
    refused(tmp_path / "photo.png", "`view`", *words, model=pixels(), view=view)


def test_predictions_decode_as_keras_applications_decodes_them():
    """The function of keras.applications reads its names from a file that it downloads; identifiers are WordNet's."""
    predictions = np.zeros((2, 1000), "float32")
    predictions[0, [281, 386]] = 0.7, 0.3
    predictions[1, 0] = 1.0
    first, second = keras_resnet.decode_predictions(predictions, top=2)
    assert first == [("n02123045", "tabby", pytest.approx(0.7)), ("n02504458", "African elephant", pytest.approx(0.3))]
    assert second[0] == ("n01440764", "tench", 1.0)


def test_predictions_decode_by_any_labels(tmp_path, monkeypatch):
    row = np.array([[0.1, 0.2, 0.7]])
    assert keras_resnet.decode_predictions(row, 1, ["a", "b", "c"]) == [[("2", "c", 0.7)]]
    tied = np.array([[0.25, 0.5, 0.25]])  # in the order of the classes, as by `argmax`
    assert [label for _, label, _ in keras_resnet.decode_predictions(tied, 3, ["a", "b", "c"])[0]] == ["b", "a", "c"]
    assert keras_resnet.decode_predictions(np.eye(10)[:1], 1, "cifar10") == [[("0", "airplane", 1.0)]]
    model = keras_resnet.CifarResNet(8, classes=3)
    saving.save(model, tmp_path / "model.keras", {"class_names": ["x", "y", "z"]})
    monkeypatch.setenv("HOME", str(tmp_path))
    for labels in (tmp_path, tmp_path / "model.keras", str(tmp_path), "~", "~/model.keras"):
        assert keras_resnet.decode_predictions(row, 2, labels) == [[("2", "z", 0.7), ("1", "y", 0.2)]]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ("imagenet", r"`preds` must have the shape \(n, 1000\) for 1000 labels. Received: \(1, 3\)"),
        (["a"], r"`preds` must have the shape \(n, 1\) for 1 labels"),
        ("imagenet22k", r"`labels` must be 'imagenet', 'digits', .* Received: 'imagenet22k'"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, words):
    with pytest.raises(ValueError, match=words):
        keras_resnet.decode_predictions(np.zeros((1, 3)), labels=labels)


@pytest.mark.parametrize("top", [0, -1])
def test_fewer_than_one_class_cannot_be_decoded(top):
    """A negative number would otherwise be counted from the end, and give all classes but one."""
    with pytest.raises(ValueError, match=f"`top` must be at least 1. Received: {top}"):
        keras_resnet.decode_predictions(np.zeros((1, 10)), top, "cifar10")
