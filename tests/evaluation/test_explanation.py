"""Grad-CAM computed without gradients equals Grad-CAM computed from gradients."""

from __future__ import annotations

import cv2
import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet import backend
from keras_resnet.evaluation import prediction, source
from keras_resnet.evaluation.explanation import draw_explanation
from keras_resnet.evaluation.prediction import predict
from keras_resnet.models.taps import any_size, dense_logits


def network(**choices):
    keras.utils.set_random_seed(0)
    model = keras_resnet.CifarResNet(8, classes=4, **choices)
    if choices.get("include_top", True):
        model.get_layer("logits").bias.assign([0.5, -1.0, 2.0, 1.0])
    return model


def pictures(count=3, size=32):
    return np.random.default_rng(0).uniform(0, 255, (count, size, size, 3)).astype("float32")


def gradients(model, images, classes):
    """The last feature maps and the gradients of the classes' logits with respect to them, by the backend itself."""
    maps = np.asarray(keras_resnet.features(model, ["features"]).predict_on_batch(images)["features"])
    dense = model.get_layer("logits")

    def logit(x):
        logits = keras.ops.matmul(keras.ops.mean(x, axis=(1, 2)), dense.kernel) + dense.bias
        return keras.ops.sum(logits * keras.ops.one_hot(classes, 4))

    (gradient,) = backend.gradient(lambda arrays: logit(arrays[0]), dense.variables)([maps])
    return maps, gradient


@pytest.mark.parametrize("order", ["original", "full_preactivation"])
def test_the_map_is_the_positive_part_of_the_channels_weighted_by_mean_gradients(order):
    """Selvaraju et al. 2017, equations 1 and 2, times the number of positions."""
    model, images, classes = network(order=order), pictures(), np.array([2, 0, 3])
    maps, gradient = gradients(model, images, classes)
    weights = gradient.mean(axis=(1, 2), keepdims=True)
    expected = np.maximum((weights * maps).sum(axis=-1), 0) * maps.shape[1] * maps.shape[2]
    assert expected.max() > 0
    np.testing.assert_allclose(keras_resnet.grad_cam(model, images, classes), expected, rtol=1e-3, atol=1e-4)


def test_the_default_class_is_the_most_probable():
    model, images = network(), pictures()
    best = np.asarray(model.predict_on_batch(images)).argmax(axis=1)
    default = keras_resnet.grad_cam(model, images)
    np.testing.assert_array_equal(default, keras_resnet.grad_cam(model, images, best))
    np.testing.assert_array_equal(default, keras_resnet.grad_cam(model, keras.ops.convert_to_tensor(images)))


def test_channels_first_models_give_the_same_maps():
    last, first = network(), network(data_format="channels_first", input_shape=(3, 32, 32))
    first.set_weights(last.get_weights())
    images = pictures()
    maps = keras_resnet.grad_cam(first, images.transpose(0, 3, 1, 2), [0, 1, 2])
    np.testing.assert_allclose(maps, keras_resnet.grad_cam(last, images, [0, 1, 2]), rtol=1e-3, atol=1e-3)


def test_a_network_for_any_size_gives_the_same_maps():
    model, images = network(), pictures()
    expected, maps = (keras_resnet.grad_cam(each, images, [0, 1, 2]) for each in (model, any_size(model)))
    np.testing.assert_allclose(maps, expected, rtol=1e-5)
    assert keras_resnet.grad_cam(any_size(model), pictures(size=48)).shape == (3, 12, 12)


@pytest.mark.parametrize("classes", [[0], [0, 1, 4], [0, 1, -1], [[0, 1, 2]], [0.0, 1.0, 2.0], 0])
def test_classes_out_of_range_are_refused(classes):
    with pytest.raises(ValueError, match="`classes` must be one index below 4 for each of 3 images"):
        keras_resnet.grad_cam(network(), pictures(), classes)


def test_a_network_without_a_top_is_refused():
    with pytest.raises(ValueError, match="has no logits"):
        keras_resnet.grad_cam(network(include_top=False), pictures())


def test_a_picture_shows_the_image_and_the_map(tmp_path):
    """The map is positive in its upper left corner only, and so the right half of the picture is red there."""
    heat = np.zeros((4, 4), "float32")
    heat[0, 0] = 3.0
    draw_explanation(np.full((32, 32, 3), 128, np.uint8), heat, tmp_path / "a.png", title="a title")
    picture = cv2.imread(str(tmp_path / "a.png")).astype(float)
    height, width = picture.shape[:2]
    hot = picture[int(0.17 * height) : int(0.25 * height), int(0.53 * width) : int(0.57 * width)].mean(axis=(0, 1))
    cold = picture[int(0.8 * height) : int(0.9 * height), int(0.85 * width) : int(0.95 * width)].mean(axis=(0, 1))
    assert hot[2] > cold[2] + 60  # red, as OpenCV orders the colours


def test_prediction_writes_a_picture_for_each_image(tmp_path):
    for name in ("one/a.png", "two/a.png", "two/b.jpg", "two/broken.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), pictures(1, 40)[0])
    (tmp_path / "photos" / "two" / "broken.png").write_bytes(b"no image")
    results = predict(network(), tmp_path / "photos", explain=tmp_path / "why")
    names = ["one/a.png.png", "two/a.png.png", "two/b.jpg.png"]
    assert sorted(str(path.relative_to(tmp_path / "why")) for path in (tmp_path / "why").rglob("*.png")) == names
    assert [row.get("explanation") for row in results] == [*(str(tmp_path / "why" / name) for name in names), None]
    np.save(tmp_path / "images.npy", pictures(2).astype(np.uint8))
    predict(network(), tmp_path / "images.npy", explain=tmp_path / "array")
    assert sorted(path.name for path in (tmp_path / "array").iterdir()) == ["images.npy[0].png", "images.npy[1].png"]


def test_the_dense_network_is_built_once_for_all_batches(tmp_path, monkeypatch):
    built = []
    monkeypatch.setattr(source, "BATCH", 2)
    monkeypatch.setattr(prediction, "dense_logits", lambda model: built.append(dense_logits(model)) or built[-1])
    np.save(tmp_path / "images.npy", pictures(5).astype(np.uint8))
    assert len(predict(network(), tmp_path / "images.npy", explain=tmp_path / "array")) == 5
    assert len(built) == 1
