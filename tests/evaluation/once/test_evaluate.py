"""Evaluation of networks on a data set: views, classes and ensembles."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from PIL import Image

import keras_resnet
from keras_resnet import saving
from keras_resnet.data import DataError, load
from keras_resnet.evaluation.evaluate import evaluate
from keras_resnet.evaluation.views import Views
from keras_resnet.preprocessing import normalize
from pictures import jpeg, photograph

NAMES = ["ant", "bee", "cat"]
WORDS, OTHERS = ["emmet", "drone", "tabby"], ["pismire", "bumblebee", "moggy"]
SHARP = 50.0  # factor by which logits are spread, so that different views give clearly different results


@pytest.fixture
def photographs(tmp_path):
    """A folder of photographs with three per class in each split."""
    for seed in range(18):
        side, name = ("train", "val")[seed % 2], NAMES[seed % 3]
        path = tmp_path / "photographs" / side / name / f"{seed}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(photograph(seed, 90 + seed, 120), quality=95))
    return f"folder:{tmp_path / 'photographs'}"


@pytest.fixture
def save(tmp_path):
    """Returns a function that saves a network, with weights by `name` and logits scaled by `sharp`, to a file."""

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
    """Returns a function that saves a small, fast network with the given information about its classes."""

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


def test_one_view_is_the_centre_crop_of_the_size_that_the_network_was_trained_for(photographs, save):
    path = save()
    result = evaluate([path], photographs).result
    images, labels = batch(photographs, size=32, resize=48)
    assert result["wrong"] == int((predict(path, images).argmax(axis=1) != labels).sum())
    assert (result["images"], result["bad"], result["view"], result["split"]) == (9, 0, "one view", "test")
    assert [row["name"] for row in result["classes"]] == NAMES
    assert sum(row["images"] for row in result["classes"]) == 9
    assert "members" not in result


def test_another_size_than_the_network_was_built_for(photographs, save):
    """As in 2016, table 5: networks trained on crops of 224 are tested on crops of 320."""
    path = save()
    result = evaluate([path], photographs, views=Views(size=48, resize=48)).result
    images, labels = batch(photographs, size=48, resize=48)
    model = keras_resnet.CifarResNet(8, classes=3, input_shape=(None, None, 3), weights=path)
    probabilities = np.asarray(model.predict(images.astype("float32"), verbose=0))
    likelihood = -np.log(probabilities[np.arange(9), labels]).mean()
    assert result["calibration"]["negative_log_likelihood"] == pytest.approx(likelihood, abs=1e-3)


@pytest.mark.parametrize(
    ("data", "shape", "classes", "crop"),
    [(None, (32, 32, 3), 3, {"size": 32, "resize": 48}), ("digits", (8, 8, 1), 10, {})],
)
def test_one_view_may_be_averaged_with_its_mirror_image(photographs, save, data, shape, classes, crop):
    path, data = save(input_shape=shape, classes=classes), data or photographs
    result = evaluate([path], data, views=Views(mirror=True)).result
    images, labels, _ = (
        np.concatenate(part) for part in zip(*load(data).test_batches(batch_size=9, **crop), strict=True)
    )
    images, labels = images[: result["images"]], labels[: result["images"]]
    both = (predict(path, images) + predict(path, images[:, :, ::-1])) / 2
    likelihood = -np.log(both[np.arange(len(labels)), labels]).mean()
    assert result["calibration"]["negative_log_likelihood"] == pytest.approx(likelihood, abs=1e-3)
    assert result["view"] == "one view, mirrored too"


@pytest.mark.parametrize("views", [Views(crops=10), Views(scales=(32, 64))])
def test_many_views_of_every_image(photographs, save, views):
    evaluation = evaluate([save()], photographs, views=views)
    assert (evaluation.result["images"], evaluation.confusion.sum()) == (9, 9)
    assert evaluation.result["view"] == ("ten crops" if views.crops == 10 else "scales 32,64")


@pytest.fixture
def pictures(tmp_path):
    """Returns a function that writes images of given shapes and returns the set's name and (image, label) pairs."""

    def write(*shapes):
        test_images = []
        for number, shape in enumerate([*shapes, *shapes[:1] * 3]):
            side, label = ("val", number % 3) if number < len(shapes) else ("train", number - len(shapes))
            image = photograph(number, *shape)
            path = tmp_path / "pictures" / side / NAMES[label] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
            if side == "val":
                test_images.append((image, label))
        return f"folder:{tmp_path / 'pictures'}", test_images

    return write


def likelihood_of(path, views):
    """The negative log-likelihood of labels, by plain Keras, from several views per image and their mirror images."""
    model = keras.saving.load_model(path, compile=False)
    probabilities = []
    for image_views, label in views:
        all_views = [each.astype("float32") for view in image_views for each in (view, view[:, ::-1])]
        probabilities.append(np.mean([np.asarray(model.predict_on_batch(view[None]))[0, label] for view in all_views]))
    return -np.log(probabilities).mean()


@pytest.mark.parametrize(
    ("trained", "views"),
    [
        ({"size": 24, "resize": 30}, Views(crops=10, size=32, resize=40)),
        ({"size": 32, "resize": 40}, Views(crops=10)),
        ({"size": 32, "resize": 40}, Views(crops=10, size=32)),
    ],
)
def test_ten_crops_are_the_corners_and_the_centre_and_their_mirror_images(pictures, save, trained, views):
    """The shorter side of the images is that to which they are resized, so that they are not changed."""
    data, test_images = pictures((40, 52), (64, 40), (40, 40), (40, 80), (46, 40))
    path = save(info={"view": trained}, sharp=SHARP)
    crops = []
    for image, label in test_images:
        low, right = image.shape[0] - 32, image.shape[1] - 32
        corners = [image[:32, :32], image[:32, -32:], image[-32:, :32], image[-32:, -32:]]
        centre = image[low // 2 : low // 2 + 32, right // 2 : right // 2 + 32]
        crops.append(([*corners, centre], label))
    likelihood = evaluate([path], data, views=views).result["calibration"]["negative_log_likelihood"]
    assert likelihood == pytest.approx(likelihood_of(path, crops), abs=1e-3)


def test_a_scale_shows_the_entire_image_and_its_mirror_image(pictures, save):
    """The sides are multiples of 32 pixels and the shorter one is the scale, so that the images are not changed."""
    data, test_images = pictures((64, 96), (96, 64), (64, 96), (64, 64))
    path = save(input_shape=(None, None, 3), sharp=SHARP)
    entire = [([image], label) for image, label in test_images]
    likelihood = evaluate([path], data, views=Views(scales=(64,))).result["calibration"]["negative_log_likelihood"]
    assert likelihood == pytest.approx(likelihood_of(path, entire), abs=1e-3)


def test_a_single_network_needs_no_list(photographs, save):
    alone, in_a_list = (evaluate(models, photographs).result for models in (str(save()), [save()]))
    assert (alone["model"], alone["wrong"]) == (in_a_list["model"], in_a_list["wrong"])


def test_an_ensemble_averages_the_probabilities_of_its_members(photographs, save):
    paths = [save("a"), save("b"), save("c")]
    result = evaluate(paths, photographs).result
    images, labels = batch(photographs, size=32, resize=48)
    single = [predict(path, images) for path in paths]
    mean = np.mean(single, axis=0)
    assert result["wrong"] == int((mean.argmax(axis=1) != labels).sum())
    likelihood = -np.log(mean[np.arange(9), labels]).mean()
    assert result["calibration"]["negative_log_likelihood"] == pytest.approx(likelihood, abs=1e-3)
    assert [member["model"] for member in result["members"]] == list(map(str, paths))
    for member, probabilities in zip(result["members"], single, strict=True):
        assert member["wrong"] == int((probabilities.argmax(axis=1) != labels).sum())


@pytest.mark.parametrize("order", [1, -1])
def test_an_image_that_one_member_cannot_decode_is_excluded_from_the_ensemble(tmp_path, save, order):
    """A JPEG without its lowest rows can be decoded for a network that needs only the centre."""
    for number in range(10):
        side, name = ("train", "val")[number % 2], NAMES[number // 2 % 3]
        data, path = jpeg(photograph(number, 128, 128), quality=95), tmp_path / "square" / side / name / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data[: int(0.97 * len(data))] + b"\xff\xd9" if number == 3 else data)
    data, views = f"folder:{tmp_path / 'square'}", [{"size": 32, "resize": 64}, {"size": 32, "resize": 32}]
    paths = [save(f"{view['resize']}", {"view": view}, sharp=SHARP) for view in views]
    batches = [next(iter(load(data).test_batches(batch_size=5, **view))) for view in views]
    assert [weights.sum() for _, _, weights in batches] == [5, 4]
    mean = np.mean([predict(path, images) for path, (images, *_) in zip(paths, batches, strict=True)], axis=0)
    _, labels, weights = batches[1]
    likelihood = -np.log(mean[np.arange(5), labels])[weights > 0].mean()
    result = evaluate(paths[::order], data).result
    assert (result["images"], result["bad"]) == (4, 1)
    assert [(member["images"], member["bad"]) for member in result["members"]] == [(5, 0), (4, 1)][::order]
    assert result["calibration"]["negative_log_likelihood"] == pytest.approx(likelihood, abs=1e-3)


def test_classes_are_matched_by_name_or_identifier_to_those_of_the_network(photographs, named):
    """For example, the classes of a subset of ImageNet are matched to the thousand of the network."""
    names, ids = ["x", "cat", "y", "ant", "bee"], ["n0", "n1", "n2", "n3", "n4"]
    by_name = evaluate([named(info={"class_names": names}, classes=5)], photographs)
    assert [row["class"] for row in by_name.result["classes"]] == [1, 3, 4]
    assert by_name.class_names == names
    info = {"class_names": ids, "class_ids": names}
    by_id = evaluate([named(info=info, classes=5)], photographs)
    assert [row["name"] for row in by_id.result["classes"]] == ["n1", "n3", "n4"]


def test_classes_that_a_network_does_not_have_are_refused(photographs, named):
    path = named(info={"class_names": ["ant", "bee", "dog"]})
    with pytest.raises(ValueError, match=r"has other classes than folder:.*: 'cat' is not among 'ant', 'bee', 'dog'"):
        evaluate([path], photographs)


def test_classes_without_names_must_agree_in_number(named):
    with pytest.raises(ValueError, match=r"has 3 classes. Received: digits, which has 10"):
        evaluate([named(classes=3, shape=(8, 8, 1))], "digits")


def test_the_error_for_more_classes_without_names_says_how_to_name_them(photographs, named):
    """The first three of five classes need not be the three of the data; three of three are."""
    command = "`keras-resnet convert FILE OUT .*--labels imagenet`"
    with pytest.raises(ValueError, match=rf"names none of its 5 classes, and folder:.* has 3\. Add names by {command}"):
        evaluate([named(classes=5)], photographs)
    assert evaluate([named(classes=3)], photographs).class_names == NAMES


def test_networks_of_different_classes_are_no_ensemble(photographs, named):
    """Different classes of the same name, such as crane for a bird and a machine, are distinguished by identifiers."""
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
def test_classes_of_an_ensemble_are_compared_by_identifiers_or_names(photographs, named, infos, names, order):
    """Identifiers serve as names for a network without others; the folders of the data may be named by either."""
    paths = [named(name, info) for name, info in zip("abc", infos[::order], strict=False)]
    evaluation = evaluate(paths, photographs)
    assert len(evaluation.result["members"]) == len(infos)
    assert evaluation.class_names in names


@pytest.mark.parametrize("view", [{"crops": 10}, {"scales": (32,)}, {"size": 32}])
def test_images_in_memory_have_no_other_views(save, view):
    with pytest.raises(ValueError, match="images of digits have a fixed size"):
        evaluate([save(classes=10, input_shape=(8, 8, 1))], "digits", views=Views(**view))


@pytest.mark.parametrize(
    ("view", "words"),
    [
        ({"crops": 5}, "`crops` must be one of 1, 10. Received: 5"),
        ({"scales": (224, 0)}, r"`scales` must be at least 1. Received: \(224, 0\)"),
        ({"crops": 10, "scales": (224,)}, "`scales` cannot be combined with `crops`, `size` or `resize`"),
        ({"size": 32, "scales": (224,)}, "`scales` cannot be combined with `crops`, `size` or `resize`"),
        ({"crops": 10, "mirror": True}, "`mirror` is for one view"),
        ({"scales": (224,), "mirror": True}, "`mirror` is for one view"),
    ],
)
def test_views_that_contradict_one_another_are_refused(view, words):
    with pytest.raises(ValueError, match=words):
        Views(**view)


def test_a_crop_that_does_not_fit_is_refused(photographs, save):
    for crops in (1, 10):
        with pytest.raises(DataError, match=r"`resize` at least `size`\. Received: 48 and 40"):
            evaluate([save()], photographs, views=Views(crops=crops, size=48, resize=40))
