"""Conversion: its report, the metadata that a user adds, and its errors."""

import keras
import numpy as np
import pytest
import safetensors.numpy

import keras_resnet
import small_runs
from keras_resnet import saving
from keras_resnet.preprocessing import normalize
from keras_resnet.weights.conversion import convert
from keras_resnet.weights.pretrained import tensors_of
from keras_resnet.weights.torch_names import to_state


@pytest.fixture
def small(seeded, tmp_path):
    """A file of a network without normalisation or labels, and the network."""
    model = seeded(keras_resnet.CifarResNet(8, classes=3))
    path = tmp_path / "small.keras"
    model.save(path)
    return path, model


def test_the_report_counts_what_was_used(small, tmp_path):
    path, model = small
    report = convert(path, tmp_path / "out.keras", "resnet8")
    assert report == {
        "source": str(path),
        "out": str(tmp_path / "out.keras"),
        "model": "resnet8",
        "tensors": len(model.weights),
        "parameters": sum(int(np.prod(variable.shape)) for variable in model.trainable_variables),
        "classes": 3,
        "labels": 0,
        "channels": 3,
        "normalization": None,
        "view": {},
    }


def test_what_the_user_says_is_saved_in_the_file(small, tmp_path):
    path, model = small
    out = tmp_path / "out.keras"
    known = {"class_labels": ["a", "b", "c"], "mean": [0.5, 0.4, 0.3], "deviation": [0.2, 0.2, 0.25]}
    report = convert(path, out, "resnet8", **known)
    assert report["normalization"] == {"mean": [127.5, 102.0, 76.5], "deviation": [51.0, 51.0, 63.75]}
    converted, info = saving.load(out)
    assert info["class_names"] == ["a", "b", "c"]
    assert info["input"] == "raw images, 0 to 255"
    raw = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    prepared = ((raw / 255 - known["mean"]) / known["deviation"]).astype("float32")
    actual, expected = (keras.ops.convert_to_numpy(value) for value in (converted(raw), model(prepared)))
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)
    # The next conversion reads it from the file.
    again = convert(out, tmp_path / "again.keras")
    assert (again["model"], again["labels"], again["normalization"]) == ("resnet8", 3, report["normalization"])


@pytest.mark.parametrize(
    "choices", [{"shortcut": "B", "order": "full_preactivation"}, {"stage_units": (1, 2), "stage_filters": (16, 24)}]
)
def test_choices_that_a_file_records_need_not_be_given_again(tmp_path, seeded, choices):
    model = seeded(keras_resnet.CifarResNet(8, **choices))
    model.save(tmp_path / "b.keras")
    convert(tmp_path / "b.keras", tmp_path / "named.keras", "resnet8", **choices)
    image = np.ones((1, 32, 32, 3), "float32")
    for source, out in (("named", "once"), ("once", "twice")):
        convert(tmp_path / f"{source}.keras", tmp_path / f"{out}.keras")
        converted, _ = saving.load(tmp_path / f"{out}.keras")
        np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(network(image)) for network in (converted, model)))


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("sides", [(8, 12), (None, None)])
def test_a_converted_network_takes_images_of_the_size_that_the_model_took(tmp_path, sides, data_format):
    """Of a run on images in memory with a mean by channel, nothing else in the file tells the size."""
    shape = (*sides, 1) if data_format == "channels_last" else (1, *sides)
    keras_resnet.CifarResNet(8, input_shape=shape, data_format=data_format).save(tmp_path / "grey.keras")
    convert(tmp_path / "grey.keras", tmp_path / "out.keras", "resnet8", mean=[0.5])
    assert keras_resnet.load_model(tmp_path / "out.keras").input_shape == (None, *sides, 1)


def test_a_mean_without_a_deviation_is_reported_alone(small, tmp_path):
    """Caffe's networks subtract a mean and do not divide."""
    assert convert(small[0], tmp_path / "out.keras", "resnet8", mean=3 * [0.5])["normalization"] == {
        "mean": 3 * [127.5]
    }


def test_a_run_keeps_its_per_pixel_mean(tmp_path):
    run = small_runs.finished()
    assert convert(run, tmp_path / "out.keras")["normalization"] == {"mean": "by pixel"}
    (source, _), (converted, _) = saving.load(run / "model.keras"), saving.load(tmp_path / "out.keras")
    image = np.full((1, 8, 8, 1), 9, "float32")
    np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(network(image)) for network in (source, converted)))


def test_a_mean_that_the_user_gives_replaces_one_by_pixel(tmp_path):
    images, by_pixel = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")[:, None]
    model = keras_resnet.CifarResNet(8, input_tensor=normalize(keras.Input((32, 32, 3)), by_pixel[0]))
    saving.save(model, tmp_path / "run.keras", {"model": "resnet8"})
    report = convert(tmp_path / "run.keras", tmp_path / "out.keras", mean=[0.5, 0.4, 0.3])
    assert report["normalization"] == {"mean": [127.5, 102.0, 76.5], "deviation": [1.0, 1.0, 1.0]}
    converted, _ = saving.load(tmp_path / "out.keras")
    expected = model.predict_on_batch(images - np.float32([127.5, 102.0, 76.5]) + by_pixel)
    np.testing.assert_allclose(converted.predict_on_batch(images), expected, rtol=1e-3, atol=1e-6)


def test_imagenet_means_the_weights_even_if_a_folder_has_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "imagenet").mkdir()
    with pytest.raises(ValueError, match="No ImageNet weights are published for 'resnet20'"):
        convert("imagenet", "out.keras", "resnet20")


def test_a_weights_file_gives_torchvision_all_tensors(tmp_path, seeded):
    seeded(whole := keras_resnet.ResNet18(input_shape=(32, 32, 3))).save_weights(tmp_path / "all.weights.h5")
    with pytest.raises(ValueError, match=r"has 1000 classes. Received: 4 labels"):
        convert(tmp_path / "all.weights.h5", tmp_path / "no.keras", "resnet18", class_labels=[*"abcd"])
    report = convert(tmp_path / "all.weights.h5", tmp_path / "out.safetensors", "resnet18", to="torchvision")
    state = safetensors.numpy.load_file(tmp_path / "out.safetensors")
    assert report["tensors"] == len(whole.weights) == 102
    assert len(state) == 122  # of torchvision's ResNet-18, which counts the batches of each of 20 batch norms
    kernel = keras.ops.convert_to_numpy(whole.get_layer("stem_conv").kernel)
    np.testing.assert_array_equal(state["conv1.weight"], kernel.transpose(3, 2, 0, 1))


def test_another_epsilon_of_batch_norm_goes_into_the_statistics_of_torchvision(tmp_path, seeded):
    """Torch's epsilon is 1e-5; the output depends only on its sum with the variance."""
    whole = seeded(keras_resnet.ResNet18(input_shape=(32, 32, 3), bn_epsilon=0.01))
    whole.save(tmp_path / "whole.keras")
    convert(tmp_path / "whole.keras", tmp_path / "out.safetensors", "resnet18", to="torchvision")
    state = safetensors.numpy.load_file(tmp_path / "out.safetensors")
    for module, layer in (("bn1", "stem_bn"), ("layer4.1.bn2", "stage4_unit2_bn2")):
        total = keras.ops.convert_to_numpy(whole.get_layer(layer).moving_variance) + 0.01
        np.testing.assert_allclose(state[f"{module}.running_var"] + 1e-5, total, rtol=1e-6)
    bare = {"input_shape": (32, 32, 3), "include_preprocessing": False}
    again = keras_resnet.ResNet18(weights=tmp_path / "out.safetensors", **bare)
    image = np.random.default_rng(0).standard_normal((1, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(*(keras.ops.convert_to_numpy(model(image)) for model in (again, whole)), rtol=1e-3)


def test_grey_images_do_not_get_the_usual_mean_of_photographs(tmp_path, seeded):
    """PyTorch's files do not record the mean; for three channels, ImageNet's is assumed."""
    choices = {"input_shape": (32, 32, 1), "classes": 3, "width": 0.25, "shortcut": "B"}
    grey = seeded(keras_resnet.ResNet18(**choices))
    safetensors.numpy.save_file(to_state(tensors_of(grey)), tmp_path / "grey.safetensors")
    again = keras_resnet.ResNet18(weights=tmp_path / "grey.safetensors", **choices)
    assert all(map(np.array_equal, again.get_weights(), grey.get_weights()))


def test_networks_of_version_1_are_written_for_timm_under_the_names_of_torchvision(tmp_path, seeded):
    """Also those for grey images, which timm makes with `in_chans=1`."""
    grey = seeded(keras_resnet.ResNet18(input_shape=(32, 32, 1), classes=3))
    grey.save(tmp_path / "grey.keras")
    convert(tmp_path / "grey.keras", tmp_path / "out.safetensors", "resnet18", to="timm")
    state = safetensors.numpy.load_file(tmp_path / "out.safetensors")
    assert state["conv1.weight"].shape == (64, 1, 7, 7)
    np.testing.assert_array_equal(state["fc.weight"].T, keras.ops.convert_to_numpy(grey.get_layer("logits").kernel))


def test_weights_of_other_stages_are_refused(tmp_path, seeded):
    stages = {"stage_filters": (16, 24), "stem": "cifar", "shortcut": "A", "classes": 10}
    seeded(keras_resnet.ResNet((1, 2), **stages)).save(tmp_path / "b.keras")
    path = tmp_path / "named.keras"
    convert(tmp_path / "b.keras", path, "resnet8", stage_units=(1, 2), stage_filters=(16, 24))
    assert keras_resnet.ResNet20(weights=path).get_layer("stage2_unit2_conv2").kernel.shape == (3, 3, 24, 24)
    with pytest.raises(ValueError, match=r"are for `stage_units=\(1, 2\)`. Received: stage_units=\(1, 1\)"):
        keras_resnet.ResNet((1, 1), weights=path, **stages)


def test_a_weights_file_gives_its_network(small, tmp_path):
    _, model = small
    model = keras_resnet.CifarResNet(8)
    model.save_weights(tmp_path / "x.weights.h5")
    report = convert(tmp_path / "x.weights.h5", tmp_path / "out.keras", "resnet8")
    assert report["tensors"] == len(model.weights)
    converted, _ = saving.load(tmp_path / "out.keras")
    assert all(map(np.array_equal, converted.get_weights(), model.get_weights()))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"out": "out.h5"}, r"A file for keras must end in .keras. Received: 'out.h5'"),
        ({"out": "out.keras", "to": "torchvision"}, r"A file for torchvision must end in .pth, .*safetensors"),
        ({"out": "out.keras", "to": "onnx"}, r"`to` must be one of keras, torchvision, timm. Received: 'onnx'"),
        ({"model": None}, r"does not name its network. Pass the name: --model"),
        ({"model": "resnet23"}, r"nearest: 20 and 26"),
        ({"class_labels": "imagenet"}, r"has 3 classes. Received: 1000 labels"),
        ({"class_labels": "imagenet22k"}, r"No such labels: .*'imagenet22k'"),
        ({"class_labels": ["a"]}, r"has 3 classes. Received: 1 labels"),
        ({"deviation": 3 * [0.5]}, r"A deviation needs a mean"),
        (
            {"mean": [123.68, 116.78, 103.94]},
            r"`mean` must be .* for pixels from 0 to 1: divide .* by 255. Received: \[123",
        ),
        ({"mean": [0.5, -0.1, 0.5]}, r"`mean` must be one number per channel, from 0 to 1, "),
        ({"mean": [0.5, float("nan"), 0.5]}, r"`mean` must be .*nan"),
        (
            {"mean": 3 * [0.5], "deviation": [0.5, 0.0, 0.5]},
            r"`deviation` must be one number per channel, above 0 and up",
        ),
        ({"mean": 3 * [0.5], "deviation": [0.5, 0.5, float("inf")]}, r"`deviation` must be .*inf"),
        ({"mean": [0.5, 0.5]}, r"`mean` must have shape .* or \(3,\). Received: \(2,\)"),
        ({"mean": 3 * [0.5], "deviation": [0.5]}, r"`deviation` must have shape .* or \(3,\). Received: \(1,\)"),
        ({"model": "resnet14"}, r"it lacks stage1_unit2_conv1/kernel"),
        ({"source": "nothing.pth"}, r"There is no such file, .* finished run.* Received: weights='nothing.pth'"),
    ],
)
def test_mistakes_are_refused_and_nothing_is_written(small, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=words):
        convert(**{"source": small[0], "out": "out.keras", "model": "resnet8", **arguments})
    assert [path.name for path in tmp_path.iterdir()] == ["small.keras"]
