"""A test of networks on a data set: their views, their classes, and several as one."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from PIL import Image

import keras_resnet
from keras_resnet import saving
from keras_resnet.data import DataError, load
from keras_resnet.evaluation.evaluate import View, evaluate
from keras_resnet.preprocessing import normalize
from pictures import jpeg, photograph

NAMES = ["ant", "bee", "cat"]
WORDS, OTHERS = ["emmet", "drone", "tabby"], ["pismire", "bumblebee", "moggy"]
SHARP = 50.0  # logits so many times as far apart, so that what is seen makes a difference


@pytest.fixture
def photographs(tmp_path):
    """A folder of photographs, three of each of three classes."""
    for seed in range(18):
        side, name = ("train", "val")[seed % 2], NAMES[seed % 3]
        path = tmp_path / "photographs" / side / name / f"{seed}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(photograph(seed, 90 + seed, 120), quality=95))
    return f"folder:{tmp_path / 'photographs'}"


@pytest.fixture
def save(tmp_path):
    """Saves a network of its own weights, whose logits are so many times as far apart, and returns its file."""

    def make(name="a", info=None, classes=3, sharp=1.0, **choices):
        keras.utils.set_random_seed(sum(map(ord, name)))
        choices = {"input_shape": (32, 32, 3), **choices}
        image = keras.Input(choices["input_shape"])
        mean, deviation = (np.full(choices["input_shape"][-1:], value) for value in (127.0, 500.0))
        image = normalize(image, mean, deviation)
        model = keras_resnet.CifarResNet(8, classes=classes, input_tensor=image, **choices)
        model.get_layer("logits").kernel.assign(sharp * model.get_layer("logits").kernel)
        saving.save(model, tmp_path / f"{name}.keras", {"view": {"size": 32, "resize": 48}, **(info or {})})
        return tmp_path / f"{name}.keras"

    return make


@pytest.fixture
def named(tmp_path):
    """Saves a network of one dense layer, which answers at once, with what is known of its classes."""

    def make(name="a", info=None, classes=3, shape=(32, 32, 3)):
        image = keras.Input(shape)
        pooled = keras.layers.GlobalAveragePooling2D()(image)
        model = keras.Model(image, keras.layers.Dense(classes, "softmax")(pooled))
        saving.save(model, tmp_path / f"{name}.keras", {"view": {"size": 32, "resize": 48}, **(info or {})})
        return tmp_path / f"{name}.keras"

    return make


def predict(path, images):
    return np.asarray(saving.load(path)[0].predict(images.astype("float32"), verbose=0))


def batch(data, **view):
    (images, labels, _), *_ = load(data).test_batches(batch_size=9, **view)
    return images, labels


def test_one_view_is_the_centre_that_the_network_was_trained_for(photographs, save):
    path = save()
    result = evaluate([path], photographs).result
    images, labels = batch(photographs, size=32, resize=48)
    assert result["wrong"] == int((predict(path, images).argmax(axis=1) != labels).sum())
    assert (result["images"], result["bad"], result["view"], result["split"]) == (9, 0, "one view", "test")
    assert [row["name"] for row in result["classes"]] == NAMES
    assert sum(row["images"] for row in result["classes"]) == 9
    assert "members" not in result


def test_another_size_than_the_network_was_built_for(photographs, save):
    """2016, table 5, tests on crops of 320 what was trained on 224."""
    path = save()
    found = evaluate([path], photographs, view=View(size=48, resize=48)).result
    images, labels = batch(photographs, size=48, resize=48)
    model = keras_resnet.CifarResNet(8, classes=3, input_shape=(None, None, 3), weights=path)
    probabilities = np.asarray(model.predict(images.astype("float32"), verbose=0))
    likelihood = -np.log(probabilities[np.arange(9), labels]).mean()
    assert found["calibration"]["negative_log_likelihood"] == pytest.approx(likelihood, abs=1e-3)


@pytest.mark.parametrize(
    ("data", "shape", "classes", "crop"),
    [(None, (32, 32, 3), 3, {"size": 32, "resize": 48}), ("digits", (8, 8, 1), 10, {})],
)
def test_the_mirror_image_of_the_one_view_counts_as_much(photographs, save, data, shape, classes, crop):
    path, data = save(input_shape=shape, classes=classes), data or photographs
    result = evaluate([path], data, view=View(mirror=True)).result
    images, labels, _ = (
        np.concatenate(part) for part in zip(*load(data).test_batches(batch_size=9, **crop), strict=True)
    )
    images, labels = images[: result["images"]], labels[: result["images"]]
    both = (predict(path, images) + predict(path, images[:, :, ::-1])) / 2
    likelihood = -np.log(both[np.arange(len(labels)), labels]).mean()
    assert result["calibration"]["negative_log_likelihood"] == pytest.approx(likelihood, abs=1e-3)
    assert result["view"] == "one view, mirrored too"


@pytest.mark.parametrize("view", [View(crops=10), View(scales=(32, 64))])
def test_many_views_of_every_image(photographs, save, view):
    found = evaluate([save()], photographs, view=view)
    assert (found.result["images"], found.confusion.sum()) == (9, 9)
    assert found.result["view"] == ("ten crops" if view.crops == 10 else "scales 32,64")


@pytest.fixture
def pictures(tmp_path):
    """Writes photographs of these shapes as PNG files; returns the data set, and its test images with their labels."""

    def write(*shapes):
        seen = []
        for number, shape in enumerate([*shapes, *shapes[:1] * 3]):
            side, label = ("val", number % 3) if number < len(shapes) else ("train", number - len(shapes))
            image = photograph(number, *shape)
            path = tmp_path / "pictures" / side / NAMES[label] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
            if side == "val":
                seen.append((image, label))
        return f"folder:{tmp_path / 'pictures'}", seen

    return write


def likelihood_of(path, views):
    """The negative log-likelihood of labels by a file as plain Keras opens it, shown several views of each image."""
    model = keras.saving.load_model(path, compile=False)
    given = []
    for several, label in views:
        both = [way.astype("float32") for view in several for way in (view, view[:, ::-1])]
        given.append(np.mean([np.asarray(model.predict_on_batch(view[None]))[0, label] for view in both]))
    return -np.log(given).mean()


@pytest.mark.parametrize(
    ("trained", "view"),
    [
        ({"size": 24, "resize": 30}, View(crops=10, size=32, resize=40)),
        ({"size": 32, "resize": 40}, View(crops=10)),
        ({"size": 32, "resize": 40}, View(crops=10, size=32)),
    ],
)
def test_ten_crops_are_the_corners_and_the_centre_and_their_mirror_images(pictures, save, trained, view):
    """Of pictures whose shorter side is that to which they are resized: as they are."""
    data, seen = pictures((40, 52), (64, 40), (40, 40), (40, 80), (46, 40))
    path = save(info={"view": trained}, sharp=SHARP)
    crops = []
    for image, label in seen:
        low, right = image.shape[0] - 32, image.shape[1] - 32
        corners = [image[:32, :32], image[:32, -32:], image[-32:, :32], image[-32:, -32:]]
        centre = image[low // 2 : low // 2 + 32, right // 2 : right // 2 + 32]
        crops.append(([*corners, centre], label))
    found = evaluate([path], data, view=view).result["calibration"]["negative_log_likelihood"]
    assert found == pytest.approx(likelihood_of(path, crops), abs=1e-3)


def test_a_scale_shows_the_whole_picture_and_its_mirror_image(pictures, save):
    """Of pictures whose sides are a multiple of 32 pixels, the shorter one the scale: as they are."""
    data, seen = pictures((64, 96), (96, 64), (64, 96), (64, 64))
    path = save(input_shape=(None, None, 3), sharp=SHARP)
    whole = [([image], label) for image, label in seen]
    found = evaluate([path], data, view=View(scales=(64,))).result["calibration"]["negative_log_likelihood"]
    assert found == pytest.approx(likelihood_of(path, whole), abs=1e-3)


def test_an_ensemble_averages_the_probabilities_of_its_members(photographs, save):
    paths = [save("a"), save("b"), save("c")]
    result = evaluate(paths, photographs).result
    images, labels = batch(photographs, size=32, resize=48)
    alone = [predict(path, images) for path in paths]
    mean = np.mean(alone, axis=0)
    assert result["wrong"] == int((mean.argmax(axis=1) != labels).sum())
    likelihood = -np.log(mean[np.arange(9), labels]).mean()
    assert result["calibration"]["negative_log_likelihood"] == pytest.approx(likelihood, abs=1e-3)
    assert [member["model"] for member in result["members"]] == list(map(str, paths))
    for member, probabilities in zip(result["members"], alone, strict=True):
        assert member["wrong"] == int((probabilities.argmax(axis=1) != labels).sum())


@pytest.mark.parametrize("order", [1, -1])
def test_an_image_that_is_not_whole_for_one_member_counts_for_none_of_the_ensemble(tmp_path, save, order):
    """A JPEG that lacks its lowest rows is whole for a network that is shown the middle."""
    for number in range(10):
        side, name = ("train", "val")[number % 2], NAMES[number // 2 % 3]
        data, path = jpeg(photograph(number, 128, 128), quality=95), tmp_path / "square" / side / name / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data[: int(0.97 * len(data))] + b"\xff\xd9" if number == 3 else data)
    data, views = f"folder:{tmp_path / 'square'}", [{"size": 32, "resize": 64}, {"size": 32, "resize": 32}]
    paths = [save(f"{view['resize']}", {"view": view}, sharp=SHARP) for view in views]
    seen = [next(iter(load(data).test_batches(batch_size=5, **view))) for view in views]
    assert [weights.sum() for _, _, weights in seen] == [5, 4]
    mean = np.mean([predict(path, images) for path, (images, *_) in zip(paths, seen, strict=True)], axis=0)
    _, labels, whole = seen[1]
    likelihood = -np.log(mean[np.arange(5), labels])[whole > 0].mean()
    result = evaluate(paths[::order], data).result
    assert (result["images"], result["bad"]) == (4, 1)
    assert [(one["images"], one["bad"]) for one in result["members"]] == [(5, 0), (4, 1)][::order]
    assert result["calibration"]["negative_log_likelihood"] == pytest.approx(likelihood, abs=1e-3)


def test_classes_are_found_by_name_or_identifier_among_those_that_the_network_knows(photographs, named):
    """As those of a part of ImageNet are among its thousand."""
    names, ids = ["x", "cat", "y", "ant", "bee"], ["n0", "n1", "n2", "n3", "n4"]
    by_name = evaluate([named(info={"class_names": names}, classes=5)], photographs)
    assert [row["class"] for row in by_name.result["classes"]] == [1, 3, 4]
    assert by_name.class_names == names
    info = {"class_names": ids, "class_ids": names}
    by_id = evaluate([named(info=info, classes=5)], photographs)
    assert [row["name"] for row in by_id.result["classes"]] == ["n1", "n3", "n4"]


def test_classes_that_a_network_does_not_know_are_refused(photographs, named):
    path = named(info={"class_names": ["ant", "bee", "dog"]})
    with pytest.raises(ValueError, match=r"knows other classes than folder:.*: 'cat' is not among 'ant', 'bee', 'dog'"):
        evaluate([path], photographs)


def test_classes_that_have_no_name_are_counted(named):
    with pytest.raises(ValueError, match=r"has 3 classes. Received: digits, which has 10"):
        evaluate([named(classes=3, shape=(8, 8, 1))], "digits")


def test_a_network_that_names_none_of_its_many_classes_is_told_how_they_get_names(photographs, named):
    """The first three of five need not be the data's three; three of three are."""
    words = r"names none of its 5 classes, and folder:.* has 3\. `keras-resnet convert FILE OUT .*--labels imagenet`"
    with pytest.raises(ValueError, match=words):
        evaluate([named(classes=5)], photographs)
    assert evaluate([named(classes=3)], photographs).class_names == NAMES


def test_networks_of_different_classes_are_no_ensemble(photographs, named):
    """Two that are called the same, as a bird and a machine are cranes, are told apart by their identifiers."""
    for one, other in (
        ({"class_names": NAMES}, {"class_names": NAMES[::-1]}),
        ({"class_names": NAMES}, {"class_names": WORDS, "class_ids": NAMES[::-1]}),
        ({"class_names": NAMES, "class_ids": WORDS}, {"class_names": NAMES, "class_ids": WORDS[::-1]}),
    ):
        with pytest.raises(ValueError, match="same classes in the same order"):
            evaluate([named("a", one), named("b", other)], photographs)


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("infos", "names"),
    [
        ([{"class_names": NAMES}, {"class_ids": NAMES, "class_names": WORDS}], [WORDS]),
        ([{"class_ids": NAMES, "class_names": OTHERS}, {"class_ids": NAMES, "class_names": WORDS}], [OTHERS, WORDS]),
        ([{"class_names": NAMES}, {"class_ids": WORDS, "class_names": NAMES}, {}], [NAMES]),
        ([{}, {"class_ids": NAMES, "class_names": WORDS}], [WORDS]),
    ],
)
def test_an_ensemble_knows_the_same_classes_by_identifiers_or_names(photographs, named, infos, names, order):
    """Which are names to a network that has no others; the data's folders are called by either."""
    paths = [named(name, info) for name, info in zip("abc", infos[::order], strict=False)]
    found = evaluate(paths, photographs)
    assert len(found.result["members"]) == len(infos)
    assert found.class_names in names


@pytest.mark.parametrize("view", [{"crops": 10}, {"scales": (32,)}, {"size": 32}])
def test_images_in_memory_are_seen_as_they_are(save, view):
    with pytest.raises(ValueError, match="images of digits are seen as they are"):
        evaluate([save(classes=10, input_shape=(8, 8, 1))], "digits", view=View(**view))


@pytest.mark.parametrize(
    ("view", "words"),
    [
        ({"crops": 5}, r"`crops` must be 1 or 10. Received: 5"),
        ({"crops": 10, "scales": (224,)}, "`scales` show whole images"),
        ({"size": 32, "scales": (224,)}, "`scales` show whole images"),
        ({"crops": 10, "mirror": True}, "`mirror` is for one view"),
        ({"scales": (224,), "mirror": True}, "`mirror` is for one view"),
    ],
)
def test_views_that_contradict_one_another_are_refused(view, words):
    with pytest.raises(ValueError, match=words):
        View(**view)


def test_a_crop_that_does_not_fit_is_refused(photographs, save):
    for crops in (1, 10):
        with pytest.raises(DataError, match=r"`resize` at least `size`\. Received: 48 and 40"):
            evaluate([save()], photographs, view=View(crops=crops, size=48, resize=40))
