"""A test uses every image, or every view of it, exactly once and averages the predictions over the views."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet.data import ArrayTestBatches, MultiViewBatches, scales_of, ten_crops_of
from keras_resnet.data.stream_batches import Split
from keras_resnet.evaluation import scores
from keras_resnet.evaluation.outputs import _PendingViews, multi_view, probabilities_of, single_view
from keras_resnet.models.taps import any_size
from pictures import Album, jpeg, photograph

CLASSES = 12  # one per value of a 2x2 RGB image
STAGES = (1, 1, 1, 1), (8, 16, 32, 64)  # units and filters of a network whose last map is 32 times smaller


def evaluate(model, images, labels, batch_size=500):
    """The scores of one view."""
    outputs = single_view(model, ArrayTestBatches(images=images, labels=labels, batch_size=batch_size))
    return scores.score(outputs.probabilities, outputs.labels)


def one_by_one(images, labels):
    """The number of top-1 errors, and the top-1 and top-5 errors in percent, computed image by image."""
    wrong, wrong5 = 0, 0
    for image, label in zip(images.reshape(len(images), -1), labels, strict=True):
        at_least_as_good = sum(score >= image[label] for score in image) - 1
        wrong += at_least_as_good >= 1
        wrong5 += at_least_as_good >= 5
    return wrong, 100 * wrong / len(images), 100 * wrong5 / len(images)


def test_logits_are_recognised_also_where_a_model_ends_in_another_model():
    """The softmax of log 1, log 2 and log 5 is 1/8, 2/8 and 5/8."""
    image, inside = keras.Input((1, 1, 3)), keras.Input((1, 1, 3))
    linear = keras.Model(inside, keras.layers.Activation("linear")(keras.layers.Flatten()(inside)))
    pixels = np.log([[[[1.0, 2.0, 5.0]]]]).astype("float32")
    for outputs in (
        linear(image),
        keras.layers.Activation("log_softmax")(linear(image)),
        keras.layers.Softmax()(linear(image)),
        keras.ops.softmax(linear(image)),
    ):
        np.testing.assert_allclose(
            probabilities_of(keras.Model(image, outputs), pixels), [[0.125, 0.25, 0.625]], rtol=1e-6
        )


@pytest.mark.parametrize("count", [1, 2, 53, 101])
@pytest.mark.parametrize("batch_size", [1, 7, 53, 500])
def test_every_image_counts_once_whatever_the_batch_size(pixels, count, batch_size):
    rng = np.random.default_rng(count)
    images, labels = rng.integers(0, 256, (count, 2, 2, 3), dtype=np.uint8), rng.integers(0, CLASSES, count)
    result = evaluate(pixels(), images, labels, batch_size=batch_size)
    wrong, error, error5 = one_by_one(images.astype(int), labels)
    assert (result["images"], result["wrong"]) == (count, wrong)
    assert (result["error"], result["top5_error"]) == pytest.approx((error, error5), abs=1e-3)


def test_an_error_is_counted_at_every_position(pixels):
    """One of 13 correct images is made wrong, including the first, and the last in a smaller batch."""
    correct = np.zeros((13, 2, 2, 3), np.uint8)
    correct.reshape(13, -1)[:, 0] = 1
    labels = np.zeros(13, int)
    assert evaluate(pixels(), correct, labels, batch_size=5)["wrong"] == 0
    for position in range(13):
        images = correct.copy()
        images[position].flat[3] = 2
        assert evaluate(pixels(), images, labels, batch_size=5)["wrong"] == 1


def test_ties_are_errors(pixels):
    """A network that gives every class the same score has learned nothing, whichever class is the true one."""
    result = evaluate(pixels(), np.full((5, 2, 2, 3), 9, np.uint8), np.arange(5))
    assert (result["error"], result["top5_error"]) == (100, 100)


def test_nans_are_errors(pixels):
    result = evaluate(pixels(), np.full((3, 2, 2, 3), np.nan, np.float32), np.arange(3))
    assert (result["error"], result["top5_error"]) == (100, 100)


def test_with_fewer_than_six_classes_there_is_no_top_five_error(pixels):
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


def test_a_model_of_other_inputs_or_outputs_is_refused():
    a, b = keras.Input((8, 8, 1)), keras.Input((8, 8, 1))
    for model in (
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]),
        keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(3, 3)]),
        keras.Model([a, b], keras.layers.Flatten()(a + b)),
    ):
        with pytest.raises(ValueError, match="must take images") as caught:
            evaluate(model, np.zeros((1, 8, 8, 1)), np.zeros(1, int))
        assert "\n" not in str(caught.value)


def test_a_model_may_return_its_only_output_in_a_dict():
    """The softmax of log 1, log 2 and log 5 is 1/8, 2/8 and 5/8."""
    image = keras.Input((1, 1, 3))
    logits = keras.layers.Activation("linear")(keras.layers.Flatten()(image))
    model = keras.Model(image, {"classes": logits})
    images = np.log(np.array([[1, 2, 5], [5, 2, 1]], "float32")).reshape(2, 1, 1, 3)
    expected = [[1 / 8, 2 / 8, 5 / 8], [5 / 8, 2 / 8, 1 / 8]]
    np.testing.assert_allclose(probabilities_of(model, images), expected, rtol=1e-5)


def test_a_channels_first_network_is_refused():
    model = keras_resnet.CifarResNet(8, data_format="channels_first")
    with pytest.raises(ValueError, match="'resnet8' must take images in the channels-last format"):
        evaluate(model, np.zeros((1, 3, 32, 32)), np.zeros(1, int))


# Several views per image


class GivenViews:
    """Replaces `MultiViewBatches`: labels and lists of views, given as arrays."""

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
def test_one_view_may_be_averaged_with_its_mirror_image(pixels, batch_size):
    images = np.random.default_rng(0).integers(0, 256, (7, 2, 2, 3), dtype=np.uint8)
    batches = ArrayTestBatches(images=images, labels=np.arange(7), batch_size=batch_size)
    outputs = single_view(pixels(end="softmax"), batches, mirror=True)
    expected = [(softmax_of(image) + softmax_of(image[:, ::-1])) / 2 for image in images]
    np.testing.assert_allclose(outputs.probabilities, expected, rtol=1e-4, atol=1e-6)
    assert list(outputs.labels) == list(outputs.positions) == list(range(7))


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_probabilities_are_averaged_over_views_and_their_mirror_images(pixels, monkeypatch, batch_size):
    monkeypatch.setattr("keras_resnet.evaluation.outputs._views_per_batch", lambda shape, size: size)
    rng = np.random.default_rng(0)
    images = [(label, list(rng.integers(0, 256, (5, 2, 2, 3), dtype=np.uint8))) for label in (1, 0, 2, 3, 5, 4, 7)]
    images[3] = (3, [])  # as for an image that cannot be decoded
    images[4] = (5, images[4][1][:2])
    outputs = multi_view(pixels(end="softmax"), GivenViews(images), batch_size)
    decoded = [(label, views) for label, views in images if views]
    expected = [
        np.mean([softmax_of(each) for view in views for each in (view, view[:, ::-1])], axis=0) for _, views in decoded
    ]
    np.testing.assert_allclose(outputs.probabilities, expected, rtol=1e-4, atol=1e-6)
    assert list(outputs.labels) == [label for label, _ in decoded]
    assert outputs.bad == 1
    assert list(outputs.positions) == [0, 1, 2, 4, 5, 6]


def test_pending_views_of_many_shapes_are_limited(monkeypatch):
    """The pixels of views that wait for others of their shape are limited; every view still counts once."""
    monkeypatch.setattr("keras_resnet.evaluation.outputs.MAX_PENDING_PIXELS", 5000)
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.GlobalAveragePooling2D()])
    rng = np.random.default_rng(0)
    images = [(0, [rng.integers(0, 256, (20 + number % 9, 30, 3), dtype=np.uint8)]) for number in range(50)]
    outputs = multi_view(model, GivenViews(images), 1000)
    np.testing.assert_allclose(outputs.probabilities, [views[0].mean(axis=(0, 1)) for _, views in images], rtol=1e-4)
    pending = _PendingViews(1000)
    for number, (_, (view,)) in enumerate(images):
        list(pending.add(number, view))
        waiting = [view for group in pending.groups.values() for _, view in group]
        assert 0 < sum(view.shape[0] * view.shape[1] for view in waiting) <= 5000


@pytest.fixture(scope="module")
def network():
    """A network for images of 64x64, with batch-norm statistics that differ from their initial values."""
    keras.utils.set_random_seed(0)
    model = keras_resnet.ResNet(*STAGES, input_shape=(64, 64, 3), classes=7)
    images = np.random.default_rng(0).uniform(0, 255, (8, 64, 64, 3)).astype("float32")
    for _ in range(3):
        model(images, training=True)
    return model


def album(*shapes):
    files = [jpeg(photograph(seed, *shape), quality=95) for seed, shape in enumerate(shapes)]
    return Split(Album(files), np.arange(len(files)), "album")


def predict(model, images):
    return np.asarray(model.predict(images.astype("float32"), verbose=0))


def test_dense_evaluation_at_one_crop_equals_the_ordinary_one(network):
    """A square photograph of the network's own size is identical to its only crop."""
    side = album(*5 * [(64, 64)])
    dense = multi_view(any_size(network), MultiViewBatches(split=side, cut=scales_of((64,)), threads=0), 50)
    images = np.stack([views[0] for _, views in MultiViewBatches(split=side, cut=ten_crops_of(64, 64), threads=0)])
    ordinary = (predict(network, images) + predict(network, images[:, :, ::-1])) / 2
    assert ordinary.max() > 0.2
    np.testing.assert_allclose(dense.probabilities, ordinary, atol=1e-5)


def test_dense_evaluation_averages_the_logits_of_every_position(network):
    """Compared with the dense layer applied at every position of the last map (He et al. 2015, section 3.4)."""
    side = album((96, 200))
    dense = multi_view(any_size(network), MultiViewBatches(split=side, cut=scales_of((64, 96)), threads=0), 50)
    any_size_network = keras_resnet.ResNet(*STAGES, input_shape=(None, None, 3), classes=7)
    any_size_network.set_weights(network.get_weights())
    ((_, views),) = MultiViewBatches(split=side, cut=scales_of((64, 96)), threads=0)
    assert [view.shape[:2] for view in views] == [(64, 128), (96, 192)]
    expected = []
    for view in views:
        for each in (view, view[:, ::-1]):
            logits = predict(keras_resnet.dense_logits(any_size_network), each[None])
            assert logits.shape[1:3] == (view.shape[0] // 32, view.shape[1] // 32)
            powers = np.exp(logits.mean(axis=(1, 2)) - logits.max())
            expected.append(powers / powers.sum())
    np.testing.assert_allclose(dense.probabilities, np.mean(expected, axis=0), atol=1e-5)


def test_views_that_the_network_does_not_take_are_refused(network):
    with pytest.raises(ValueError, match=r"takes images of \(64, 64, 3\). Received: \(32, 32, 3\)"):
        multi_view(network, MultiViewBatches(split=album((64, 64)), cut=ten_crops_of(32, 64), threads=0), 50)
    with pytest.raises(ValueError, match=r"has 7 classes. Received: labels up to 7"):
        multi_view(network, MultiViewBatches(split=album(*8 * [(64, 64)]), cut=ten_crops_of(64, 64), threads=0), 50)
