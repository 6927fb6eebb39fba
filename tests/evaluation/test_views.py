"""A test looks at every image once, or at every view of it once, and averages what it sees."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet.data import ArrayTestBatches, MultiViewBatches, scales_of, ten_crops_of
from keras_resnet.data.stream_batches import Side
from keras_resnet.evaluation import scores
from keras_resnet.evaluation.views import multi_view, single_view
from keras_resnet.models.taps import any_size
from pictures import Album, jpeg, photograph

CLASSES = 12  # of a 2x2 image in colour


def evaluate(model, images, labels, batch_size=500):
    """The scores of one view."""
    tested = single_view(model, ArrayTestBatches(images=images, labels=labels, batch_size=batch_size))
    return scores.score(tested.probabilities, tested.labels)


def by_hand(images, labels):
    """Top-1 and top-5 errors, an image at a time."""
    wrong, wrong5 = 0, 0
    for image, label in zip(images.reshape(len(images), -1), labels, strict=True):
        at_least_as_good = sum(score >= image[label] for score in image) - 1
        wrong += at_least_as_good >= 1
        wrong5 += at_least_as_good >= 5
    return wrong, 100 * wrong / len(images), 100 * wrong5 / len(images)


@pytest.mark.parametrize("count", [1, 2, 53, 101])
@pytest.mark.parametrize("batch_size", [1, 7, 53, 500])
def test_every_image_counts_once_whatever_the_batch_size(pixels, count, batch_size):
    rng = np.random.default_rng(count)
    images, labels = rng.integers(0, 256, (count, 2, 2, 3), dtype=np.uint8), rng.integers(0, CLASSES, count)
    result = evaluate(pixels(), images, labels, batch_size=batch_size)
    wrong, error, error5 = by_hand(images.astype(int), labels)
    assert (result["images"], result["wrong"]) == (count, wrong)
    assert (result["error"], result["top5_error"]) == pytest.approx((error, error5), abs=1e-3)


def test_a_wrong_image_is_noticed_at_every_place(pixels):
    """13 right images, one of them made wrong: also the first, and the last in a smaller batch."""
    right = np.zeros((13, 2, 2, 3), np.uint8)
    right.reshape(13, -1)[:, 0] = 1
    labels = np.zeros(13, int)
    assert evaluate(pixels(), right, labels, batch_size=5)["wrong"] == 0
    for place in range(13):
        images = right.copy()
        images[place].flat[3] = 2
        assert evaluate(pixels(), images, labels, batch_size=5)["wrong"] == 1


def test_a_tie_is_no_hit(pixels):
    """A network that gives every class the same score knows nothing, wherever the right class stands."""
    result = evaluate(pixels(), np.full((5, 2, 2, 3), 9, np.uint8), np.arange(5))
    assert (result["error"], result["top5_error"]) == (100, 100)


def test_nan_is_no_hit(pixels):
    result = evaluate(pixels(), np.full((3, 2, 2, 3), np.nan, np.float32), np.arange(3))
    assert (result["error"], result["top5_error"]) == (100, 100)


def test_with_fewer_than_six_classes_the_top_five_are_all(pixels):
    images = np.random.default_rng(0).permutation(100)[:40].reshape(10, 2, 2, 1).astype("uint8")
    assert evaluate(pixels((2, 2, 1)), images, np.zeros(10, int))["top5_error"] == 0


@pytest.mark.parametrize(
    ("shape", "label", "words"),
    [((3, 2, 3), 0, ("(2, 2, 3)", "(3, 2, 3)")), ((2, 2, 1), 0, ("(2, 2, 1)",)), ((2, 2, 3), 12, ("12 classes", "12"))],
)
def test_data_of_another_size_or_more_classes_are_refused(pixels, shape, label, words):
    with pytest.raises(ValueError) as caught:
        evaluate(pixels(), np.zeros((4, *shape), np.uint8), np.array([0, 0, label, 0]))
    assert all(word in str(caught.value) for word in words)


def test_a_model_of_other_things_than_images_is_refused():
    a, b = keras.Input((8, 8, 1)), keras.Input((8, 8, 1))
    for model in (
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]),
        keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(3, 3)]),
        keras.Model([a, b], keras.layers.Flatten()(a + b)),
    ):
        with pytest.raises(ValueError, match="must take images") as caught:
            evaluate(model, np.zeros((1, 8, 8, 1)), np.zeros(1, int))
        assert "\n" not in str(caught.value)


def test_a_network_whose_channels_come_first_is_refused():
    model = keras_resnet.CifarResNet(8, data_format="channels_first")
    with pytest.raises(ValueError, match="'resnet8' takes images with the channels first"):
        evaluate(model, np.zeros((1, 3, 32, 32)), np.zeros(1, int))


# Many views


class Several:
    """As `MultiViewBatches`: images that are views already."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __iter__(self):
        return iter(self.images)


def softmax_of(view):
    powers = np.exp(view.astype(float).ravel() / 10)
    return powers / powers.sum()


@pytest.mark.parametrize("batch_size", [1, 5, 500])
def test_one_view_is_averaged_with_its_mirror_image_where_that_is_asked_for(pixels, batch_size):
    images = np.random.default_rng(0).integers(0, 256, (7, 2, 2, 3), dtype=np.uint8)
    batches = ArrayTestBatches(images=images, labels=np.arange(7), batch_size=batch_size)
    tested = single_view(pixels(end="softmax"), batches, mirror=True)
    expected = [(softmax_of(image) + softmax_of(image[:, ::-1])) / 2 for image in images]
    np.testing.assert_allclose(tested.probabilities, expected, rtol=1e-4, atol=1e-6)
    assert list(tested.labels) == list(tested.positions) == list(range(7))


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_probabilities_are_averaged_over_views_and_their_mirror_images(pixels, monkeypatch, batch_size):
    monkeypatch.setattr("keras_resnet.evaluation.views._at_a_time", lambda shape, size: size)
    rng = np.random.default_rng(0)
    images = [(label, list(rng.integers(0, 256, (5, 2, 2, 3), dtype=np.uint8))) for label in (1, 0, 2, 3, 5, 4, 7)]
    images[3] = (3, [])  # it did not decode
    tested = multi_view(pixels(end="softmax"), Several(images), batch_size)
    whole = [(label, views) for label, views in images if views]
    expected = [
        np.mean([softmax_of(way) for view in views for way in (view, view[:, ::-1])], axis=0) for _, views in whole
    ]
    np.testing.assert_allclose(tested.probabilities, expected, rtol=1e-4, atol=1e-6)
    assert list(tested.labels) == [label for label, _ in whole]
    assert tested.bad == 1
    assert list(tested.positions) == [0, 1, 2, 4, 5, 6]


def test_views_of_many_shapes_do_not_pile_up(monkeypatch):
    """A bound on the pixels that wait for their like; every view still counts once."""
    monkeypatch.setattr("keras_resnet.evaluation.views.WAITING", 5000)
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.GlobalAveragePooling2D()])
    rng = np.random.default_rng(0)
    images = [(0, [rng.integers(0, 256, (20 + number % 9, 30, 3), dtype=np.uint8)]) for number in range(50)]
    tested = multi_view(model, Several(images), 1000)
    np.testing.assert_allclose(tested.probabilities, [views[0].mean(axis=(0, 1)) for _, views in images], rtol=1e-4)


@pytest.fixture(scope="module")
def network():
    """A network with statistics off their defaults, for images of 64x64."""
    keras.utils.set_random_seed(0)
    model = keras_resnet.ResNet18(input_shape=(64, 64, 3), classes=7)
    images = np.random.default_rng(0).uniform(0, 255, (8, 64, 64, 3)).astype("float32")
    for _ in range(3):
        model(images, training=True)
    return model


def album(*shapes):
    files = [jpeg(photograph(seed, *shape), quality=95) for seed, shape in enumerate(shapes)]
    return Side(Album(files), np.arange(len(files)), "album")


def predict(model, images):
    return np.asarray(model.predict(images.astype("float32"), verbose=0))


def test_dense_evaluation_at_one_crop_equals_the_ordinary_one(network):
    """A square photograph at the network's own size is its one crop."""
    side = album(*5 * [(64, 64)])
    dense = multi_view(any_size(network), MultiViewBatches(side=side, cut=scales_of((64,)), threads=0), 50)
    images = np.stack([views[0] for _, views in MultiViewBatches(side=side, cut=ten_crops_of(64, 64), threads=0)])
    ordinary = (predict(network, images) + predict(network, images[:, :, ::-1])) / 2
    assert ordinary.max() > 0.2
    np.testing.assert_allclose(dense.probabilities, ordinary, atol=1e-5)


def test_dense_evaluation_averages_the_logits_of_every_position(network):
    """Against the dense layer put at every position of the last map (He et al. 2015, section 3.4)."""
    side = album((96, 200))
    dense = multi_view(any_size(network), MultiViewBatches(side=side, cut=scales_of((64, 96)), threads=0), 50)
    whole = keras_resnet.ResNet18(input_shape=(None, None, 3), classes=7)
    whole.set_weights(network.get_weights())
    ((_, views),) = MultiViewBatches(side=side, cut=scales_of((64, 96)), threads=0)
    assert [view.shape[:2] for view in views] == [(64, 128), (96, 192)]
    expected = []
    for view in views:
        for way in (view, view[:, ::-1]):
            logits = predict(keras_resnet.dense_logits(whole), way[None])
            assert logits.shape[1:3] == (view.shape[0] // 32, view.shape[1] // 32)
            powers = np.exp(logits.mean(axis=(1, 2)) - logits.max())
            expected.append(powers / powers.sum())
    np.testing.assert_allclose(dense.probabilities, np.mean(expected, axis=0), atol=1e-5)


def test_views_that_the_network_does_not_take_are_refused(network):
    with pytest.raises(ValueError, match=r"takes images of \(64, 64, 3\). Received: \(32, 32, 3\)"):
        multi_view(network, MultiViewBatches(side=album((64, 64)), cut=ten_crops_of(32, 64), threads=0), 50)
    with pytest.raises(ValueError, match="knows 7 classes; the labels go up to 7"):
        multi_view(network, MultiViewBatches(side=album(*8 * [(64, 64)]), cut=ten_crops_of(64, 64), threads=0), 50)
