"""Files of keras.applications' networks are read in every format that Keras writes or used to write."""

import json
import re
import warnings

import h5py
import keras
import numpy as np
import pytest

import keras_resnet
from keras_resnet import saving
from keras_resnet.cli import main
from keras_resnet.weights.conversion import convert
from keras_resnet.weights.keras_applications import from_model
from keras_resnet.weights.pretrained import Pretrained
from keras_resnet.weights.reading import read
from references import SMALL, like_keras_applications

SIDE = 64
MODULES = {"ResNet50": keras.applications.resnet, "ResNet50V2": keras.applications.resnet_v2}
FORMATS = ("tuned.keras", "tuned.weights.h5", "tuned.h5", "keras2.h5")
SMALL_WORDS = ["--stage-units", "2,2", "--stage-filters", "64,128", "--width", "0.125"]


def raw_images():
    return np.random.default_rng(0).uniform(0, 255, (3, SIDE, SIDE, 3)).astype("float32")


def answers(model, images):
    return keras.ops.convert_to_numpy(model(images, training=False))


def close(actual, expected):
    """Asserts equality up to rounding, relative to the largest logit."""
    np.testing.assert_allclose(actual, expected, atol=1e-4 * np.abs(expected).max())


def write_as_keras_2(model, path):
    """Like the files that keras.applications downloads: a group per layer, with variables whose names end in ":0"."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        for layer in model.layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{variable.name}:0" for variable in layer.weights]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, variable in zip(names, layer.weights, strict=True):
                group[name] = keras.ops.convert_to_numpy(variable)


@pytest.fixture(scope="module", params=MODULES)
def theirs(request, tmp_path_factory):
    """The name of a network with three classes, the folder of its files, and its outputs for raw images."""
    name, folder = request.param, tmp_path_factory.mktemp(request.param)
    keras.utils.set_random_seed(3)  # with some kernels, the outputs hardly depend on the images
    model = like_keras_applications(name, input_shape=(SIDE, SIDE, 3), classes=3, classifier_activation=None)
    fill(model)
    for file in FORMATS[:3]:
        model.save_weights(folder / file) if ".weights." in file else model.save(folder / file)
    write_as_keras_2(model, folder / FORMATS[3])
    expected = answers(model, MODULES[name].preprocess_input(raw_images()))
    assert np.ptp(expected, axis=0).min() > 0.01 * np.abs(expected).max()  # the outputs depend on the images
    return name, folder, expected


def fill(model):
    """Changes every bias and statistic from its default, so that a test notices if one is lost."""
    rng = np.random.default_rng(1)
    for variable in model.variables:
        if variable.name in ("bias", "beta", "moving_mean"):
            variable.assign(0.1 * rng.standard_normal(variable.shape).astype("float32"))
        elif variable.name in ("gamma", "moving_variance"):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape).astype("float32"))


@pytest.mark.parametrize("file", FORMATS)
def test_a_file_of_theirs_gives_for_raw_images_what_they_give_for_preprocessed_ones(theirs, file):
    name, folder, expected = theirs
    arguments = {**SMALL, "classes": 3, "input_shape": (SIDE, SIDE, 3), "classifier_activation": None}
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*has the stride")  # files of this package's weights do not record it
        ours = getattr(keras_resnet, name)(weights=folder / file, **arguments)
    close(answers(ours, raw_images()), expected)


@pytest.mark.parametrize("file", FORMATS)
def test_convert_reads_it(theirs, file, tmp_path, capsys):
    name, folder, expected = theirs
    out = tmp_path / "out.keras"
    words = ["convert", str(folder / file), str(out), "--model", name.lower(), *SMALL_WORDS, "--json"]
    assert main(words) == 0
    report = json.loads(capsys.readouterr().out)
    mean = {"ResNet50": [123.68, 116.779, 103.939], "ResNet50V2": 3 * [127.5]}[name]
    assert (report["classes"], report["normalization"]["mean"]) == (3, mean)
    side = SIDE if file in ("tuned.keras", "tuned.h5") else 224  # the others hold only weights
    assert report["view"] == {"size": side, "resize": side}
    logits = keras_resnet.features(saving.load(out)[0], ["logits"])(raw_images(), training=False)["logits"]
    close(keras.ops.convert_to_numpy(logits), expected)


@pytest.mark.parametrize("ending", ["keras", "weights.h5", "h5"])
def test_a_network_nested_in_a_model_is_read_with_the_head_of_the_model(tmp_path, ending):
    """As Keras's guide to transfer learning builds it, with a new head after the network."""
    base = like_keras_applications(input_shape=(SIDE, SIDE, 3), include_top=False)
    fill(base)
    image = keras.Input((SIDE, SIDE, 3))
    x = keras.applications.resnet.preprocess_input(keras.layers.RandomFlip()(image))
    x = keras.layers.Dropout(0.2)(keras.layers.GlobalAveragePooling2D()(base(x)))
    model = keras.Model(image, keras.layers.Dense(2, name="cats_or_dogs")(x))
    path = tmp_path / f"tuned.{ending}"
    model.save_weights(path) if ending == "weights.h5" else model.save(path)
    arguments = {**SMALL, "classes": 2, "input_shape": (SIDE, SIDE, 3), "classifier_activation": None}
    ours = keras_resnet.ResNet50(weights=path, **arguments)
    close(answers(ours, raw_images()), answers(model, raw_images()))


def test_a_thousand_classes_are_those_of_imagenet(tmp_path):
    like_keras_applications(classes=1000).save_weights(tmp_path / "whole.weights.h5")
    report = convert(tmp_path / "whole.weights.h5", tmp_path / "out.keras", "resnet50", **SMALL)
    assert (report["labels"], report["view"]) == (1000, {"size": 224, "resize": 256})


def test_a_network_that_scales_its_images_with_its_own_layer_is_refused(tmp_path):
    image = keras.Input((SIDE, SIDE, 3))
    base = like_keras_applications(input_tensor=keras.layers.Rescaling(1 / 255)(image), classes=2)
    base.save(tmp_path / "scaled.keras")
    with pytest.raises(ValueError, match=r"scaled.keras' scales its images with its own layer 'rescaling'") as error:
        keras_resnet.ResNet50(weights=tmp_path / "scaled.keras", classes=2, **SMALL)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("before", "refused"),
    [
        (lambda x: x, None),
        (keras.applications.resnet.preprocess_input, None),
        (lambda x: keras.layers.RandomFlip()(keras.layers.Resizing(16, 16)(x)), None),
        (lambda x: x / 127.5 - 1, "subtract"),
        (lambda x: keras.applications.resnet.preprocess_input(x[..., ::-1]), ""),  # BGR, from OpenCV
        (lambda x: keras.layers.Rescaling(1 / 255)(x), "rescaling"),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_a_network_that_scales_its_images_in_another_way_is_refused(before, refused, nested):
    """The beginning of a ResNet50 shows it, as an error other than that of an incomplete network."""

    def beginning(x):
        return keras.layers.Conv2D(2, 7, name="conv1_conv")(keras.layers.ZeroPadding2D(3, name="conv1_pad")(x))

    image, inside = keras.Input((32, 32, 3)), keras.Input((None, None, 3))
    prepared = before(image)
    model = keras.Model(image, keras.Model(inside, beginning(inside))(prepared) if nested else beginning(prepared))
    words = "lacks conv1_bn|lacks stem_bn" if refused is None else f"scales its images with its own layer '{refused}"
    with pytest.raises(ValueError, match=words):
        from_model(model, keras_resnet.ResNet50.spec)


def test_the_scaling_of_a_network_that_is_like_preprocess_input_is_accepted():
    image = keras.Input((32, 32, 3))
    x = keras.layers.ZeroPadding2D(3, name="conv1_pad")(keras.layers.Rescaling(1 / 127.5, offset=-1)(image))
    x = keras.layers.BatchNormalization(name="post_bn")(keras.layers.Conv2D(2, 7, name="conv1_conv")(x))
    pretrained = from_model(keras.Model(image, x), keras_resnet.ResNet50V2.spec)
    np.testing.assert_array_equal(pretrained.mean, 3 * [127.5])  # keras.applications' V2: x / 127.5 - 1


def as_keras_2(function):
    """Returns an operation as Keras 2 writes it; a Lambda layer for None."""
    if function is None:
        return {"class_name": "Lambda", "config": {"name": "lambda", "trainable": True}, "inbound_nodes": []}
    config = {"name": f"tf.{function}", "trainable": True, "dtype": "float32", "function": function}
    kind = "SlicingOpLambda" if function == "__operators__.getitem" else "TFOpLambda"
    return {"class_name": kind, "config": config, "inbound_nodes": []}


@pytest.mark.parametrize(
    ("functions", "named"),
    [
        (["__operators__.getitem", "nn.bias_add"], None),  # `preprocess_input`
        (["math.truediv", "math.subtract"], "math.truediv, math.subtract"),
        ([None], "Lambda"),
    ],
)
def test_operations_of_keras_2_that_may_scale_the_images_are_named(theirs, tmp_path, functions, named):
    """Of such a file, Keras 3 reads only the weights."""
    name, folder, _ = theirs
    (path := tmp_path / "tuned.h5").write_bytes((folder / "keras2.h5").read_bytes())
    with h5py.File(path, "a") as file:
        model = {"class_name": "Functional", "config": {"layers": [as_keras_2(function) for function in functions]}}
        file.attrs["model_config"] = json.dumps(model)
    assert warned(path, getattr(keras_resnet, name).spec) == named


def warned(path, spec):
    """Reads weights; returns which operations a warning names."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read(path, spec)
    matches = [re.search(r"computes something with (.*) that cannot be read", str(given.message)) for given in caught]
    return next((match[1] for match in matches if match), None)


@pytest.mark.parametrize(
    ("before", "named"),
    [
        (lambda x: x / 255.0, "TrueDivide"),
        (lambda x: x * (1 / 255.0), "Multiply"),
        (keras.applications.resnet.preprocess_input, None),
        (lambda x: x, None),
    ],
)
def test_operations_before_a_network_in_h5_that_may_scale_the_images_are_named(tmp_path, monkeypatch, before, named):
    image = keras.Input((32, 32, 3))
    x = keras.layers.ZeroPadding2D(3, name="conv1_pad")(before(image))
    keras.Model(image, keras.layers.Conv2D(2, 7, name="conv1_conv")(x)).save(tmp_path / "tuned.h5")
    for source in ("from_tensors", "from_model"):  # which would miss the other layers
        monkeypatch.setattr(f"keras_resnet.weights.keras_applications.{source}", lambda *_: Pretrained("", {}))
    assert warned(tmp_path / "tuned.h5", keras_resnet.ResNet50.spec) == named


def test_a_model_of_this_package_in_h5_has_its_layout(tmp_path):
    """A file of weights does not record which convolution of a unit has the stride."""
    given = {"unit": "bottleneck", "stem": "cifar", "classes": 3}
    model = keras_resnet.ResNet((1, 1), (4, 8), stride_on="3x3", **given)
    model.save(tmp_path / "model.h5")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*has the stride")
        ours = keras_resnet.ResNet((1, 1), (4, 8), weights=tmp_path / "model.h5", **given)
    assert ours.get_layer("stage2_unit1_conv2").strides == (2, 2)
    images = raw_images()[:, :32, :32]
    np.testing.assert_array_equal(answers(ours, images), answers(model, images))


def test_a_rescaling_layer_in_a_file_of_weights_is_refused(tmp_path):
    image = keras.Input((32, 32, 3))
    x = keras.layers.ZeroPadding2D(3, name="conv1_pad")(keras.layers.Rescaling(1 / 255)(image))
    model = keras.Model(image, keras.layers.Conv2D(2, 7, name="conv1_conv")(x))
    model.save_weights(tmp_path / "scaled.weights.h5")
    model.save(tmp_path / "scaled.h5")
    for name in ("scaled.weights.h5", "scaled.h5"):
        with pytest.raises(ValueError, match=rf"{name}' scales its images with its own layer 'rescaling"):
            keras_resnet.ResNet50(weights=tmp_path / name)


def test_a_head_that_computes_something_else_is_refused_unless_it_is_replaced(tmp_path):
    for pooling, activation, words in (
        ("max", None, "takes the maximum of its"),
        ("avg", "sigmoid", "ends in 'sigmoid'"),
    ):
        base = like_keras_applications(input_shape=(32, 32, 3), include_top=False, pooling=pooling)
        model = keras.Model(base.input, keras.layers.Dense(2, activation=activation)(base.output))
        model.save(tmp_path / "tuned.keras")
        with pytest.raises(ValueError, match=rf"tuned.keras' {words}"):
            keras_resnet.ResNet50(weights=tmp_path / "tuned.keras", classes=2, **SMALL)
    assert keras_resnet.ResNet50(weights=tmp_path / "tuned.keras", classes=5, **SMALL).output_shape == (None, 5)
    keras_resnet.CifarResNet(8, classes=3, classifier_activation="sigmoid").save(tmp_path / "own.keras")
    with pytest.raises(ValueError, match=r"own.keras' ends in 'sigmoid'"):
        keras_resnet.CifarResNet(8, classes=3, weights=tmp_path / "own.keras")


def test_a_file_that_lacks_a_layer_and_one_of_another_depth_are_refused_in_one_line(theirs, tmp_path):
    name, folder, _ = theirs
    with h5py.File(folder / "keras2.h5") as whole, h5py.File(tmp_path / "half.h5", "w") as half:
        half.attrs["layer_names"] = [layer for layer in whole if layer != "conv3_block2_2_bn"]
        for layer in half.attrs["layer_names"]:
            whole.copy(layer, half)
    for path, units in ((tmp_path / "half.h5", (2, 2)), (folder / "keras2.h5", (2, 3))):
        with pytest.raises(ValueError, match=rf"{path.name}' .*lacks stage\d") as error:
            getattr(keras_resnet, name)(weights=path, classes=3, **{**SMALL, "stage_units": units})
        assert "\n" not in str(error.value)
