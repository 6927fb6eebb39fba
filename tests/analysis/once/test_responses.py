"""Responses of networks, and the batches of images and labels that analyses use."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet.analysis.inputs import batches_for
from keras_resnet.analysis.responses import responses
from keras_resnet.data import ImageStream, load
from keras_resnet.data.stream_batches import Split
from keras_resnet.exporting.folding import fold
from pictures import Album, jpeg, photograph
from to_look_at import check_responses, pictures


@pytest.mark.parametrize("choices", [{}, {"shortcut": None}])
def test_responses_are_deviations_after_batch_norm_over_all_images(seeded, choices):
    check_responses(seeded(keras_resnet.CifarResNet(8, **choices)))


@pytest.mark.parametrize(
    ("order", "residual"),
    [
        ("full_preactivation", "bn2 conv2"),  # bn relu conv bn relu conv +
        ("bn_after_addition", "bn1 conv2"),  # conv bn relu conv + bn relu
        ("relu_only_preactivation", "bn1 bn2"),  # relu conv bn relu conv bn +
    ],
)
def test_a_batch_norm_of_the_sum_is_no_response_of_a_layer(seeded, order, residual):
    """The response is then the convolution's own output: what is added to the shortcut."""
    check_responses(seeded(keras_resnet.CifarResNet(8, order=order)), residual)


@pytest.mark.parametrize("order", ["original", "full_preactivation"])
def test_a_network_with_folded_batch_norm_responds_as_before(seeded, order):
    model = seeded(keras_resnet.CifarResNet(8, order=order))
    images = [(pictures(),)]
    rows, folded_rows = responses(model, images), responses(fold(model), images)
    assert len(folded_rows) == 7
    for row, folded in zip(rows, folded_rows, strict=True):
        assert (folded["mean"], folded["deviation"]) == pytest.approx(
            (row["mean"], row["deviation"]), rel=1e-3, abs=1e-3
        )


def test_other_models_and_no_images_are_refused():
    with pytest.raises(ValueError, match="is not a network of keras_resnet"):
        responses(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]), [])
    with pytest.raises(ValueError, match="no images"):
        responses(keras_resnet.CifarResNet(8), [])


def test_labels_are_the_networks_own_class_indices():
    """The network has more classes, in another order. An analysis without labels accepts unknown classes."""
    model, data = keras_resnet.CifarResNet(8, input_shape=(8, 8, 1), classes=12), load("digits")
    names = [*data.class_names[::-1], "a", "b"]
    ((_, labels, _),) = batches_for(model, {"class_names": names}, data, 50)
    assert [names[label] for label in labels] == [data.class_names[label] for label in data.y_test[:50]]
    foreign = {"class_names": [*"abcdefghijkl"]}
    with pytest.raises(ValueError, match="has other classes than digits"):
        list(batches_for(model, foreign, data, 50))
    assert len(list(batches_for(model, foreign, data, 50, labels=False))) == 1


@pytest.mark.parametrize("count", [1, 7, 100, 150, 360, 5000])
def test_batches_contain_the_requested_number_of_test_images(count):
    model = keras_resnet.CifarResNet(8, input_shape=(8, 8, 1))
    data = load("digits")
    batches = list(batches_for(model, {}, data, count))
    counted = np.concatenate([images[weights > 0] for images, _, weights in batches])
    np.testing.assert_array_equal(counted, data.x_test[:count])
    with pytest.raises(ValueError, match=r"takes images of \(32, 32, 3\). Received: \(8, 8, 1\)"):
        list(batches_for(keras_resnet.CifarResNet(8), {}, data, count))


@pytest.mark.parametrize(
    ("count", "chosen"), [(1, [0]), (3, [0, 6, 11]), (4, [0, 4, 7, 11]), (12, range(12)), (99, range(12))]
)
def test_photographs_sorted_by_class_are_drawn_from_all_classes(count, chosen):
    """The label of a picture in an album is its index."""
    album = Album([jpeg(photograph(seed, 40, 48)) for seed in range(12)])
    split = Split(album, np.arange(12), "album")
    data = ImageStream("album", album.class_names, split, split)
    model = keras_resnet.CifarResNet(8, classes=12)
    batches = list(batches_for(model, {"view": {"size": 32, "resize": 36}}, data, count))
    assert [label for _, labels, weights in batches for label in labels[weights > 0]] == list(chosen)


def test_a_network_that_is_not_finite_has_no_deviation_of_zero(seeded):
    model = seeded(keras_resnet.CifarResNet(8))
    model.get_layer("stem_conv").set_weights([np.nan * model.get_layer("stem_conv").get_weights()[0]])
    assert np.isnan([row["deviation"] for row in responses(model, [(pictures(),)])]).all()
