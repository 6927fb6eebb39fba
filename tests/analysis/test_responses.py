"""Responses are those that NumPy sees in the outputs of single layers."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet.analysis.looking import batches_for
from keras_resnet.analysis.responses import responses
from keras_resnet.data import load
from keras_resnet.models.taps import any_size


def pictures(count=10):
    return np.random.default_rng(0).uniform(0, 255, (count, 32, 32, 3)).astype("float32")


@pytest.mark.parametrize("choices", [{}, {"shortcut": None}, {"shortcut": "B"}, {"order": "full_preactivation"}])
def test_they_are_deviations_behind_batch_norm_of_all_images_at_once(seeded, choices):
    model, images = seeded(keras_resnet.CifarResNet(8, **choices)), pictures()
    found = responses(model, [(images[:6],), (images[6:],)])
    names = [layer.name for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert [row["layer"] for row in found] == [name for name in names if "shortcut" not in name]
    for row in found:
        output = keras.Model(model.input, model.get_layer(row["layer"]).output)
        values = np.asarray(output.predict(images, verbose=0))
        assert row["deviation"] == pytest.approx(float(values.std()), rel=1e-3)
        assert row["mean"] == pytest.approx(float(values.mean()), abs=1e-3 * float(values.std()))


def test_a_network_made_for_any_size_responds_as_the_one_it_was_made_of(seeded):
    model, images = seeded(keras_resnet.CifarResNet(8)), pictures()
    for found, expected in zip(responses(any_size(model), [(images,)]), responses(model, [(images,)]), strict=True):
        assert found.pop("layer") == expected.pop("layer")
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_images_of_weight_zero_do_not_count(seeded):
    model, images = seeded(keras_resnet.CifarResNet(8)), pictures()
    weights = np.array([1, 1, 1, 1, 1, 1, 0, 0, 0, 0])
    assert responses(model, [(images, None, weights)]) == responses(model, [(images[:6],)])


def test_a_network_of_someone_else_and_no_images_are_refused():
    with pytest.raises(ValueError, match="is no network of keras_resnet"):
        responses(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]), [])
    with pytest.raises(ValueError, match="no images"):
        responses(keras_resnet.CifarResNet(8), [])


def test_labels_are_the_networks_own_numbers():
    """It knows the digits among others, in another order; where nobody asks for labels, it need not."""
    model, data = keras_resnet.CifarResNet(8, input_shape=(8, 8, 1), classes=12), load("digits")
    names = [*data.class_names[::-1], "a", "b"]
    ((_, labels, _),) = batches_for(model, {"class_names": names}, data, 50)
    assert [names[label] for label in labels] == [data.class_names[label] for label in data.y_test[:50]]
    foreign = {"class_names": [*"abcdefghijkl"]}
    with pytest.raises(ValueError, match="knows other classes than digits"):
        list(batches_for(model, foreign, data, 50))
    assert len(list(batches_for(model, foreign, data, 50, labels=False))) == 1


@pytest.mark.parametrize("count", [1, 7, 100, 150, 360, 5000])
def test_as_many_test_images_are_looked_with_as_are_asked_for(count):
    model = keras_resnet.CifarResNet(8, input_shape=(8, 8, 1))
    data = load("digits")
    batches = list(batches_for(model, {}, data, count))
    seen = np.concatenate([images[weights > 0] for images, _, weights in batches])
    np.testing.assert_array_equal(seen, data.x_test[:count])
    with pytest.raises(ValueError, match=r"takes images of \(32, 32, 3\). Received: \(8, 8, 1\)"):
        list(batches_for(keras_resnet.CifarResNet(8), {}, data, count))
