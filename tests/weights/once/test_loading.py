"""Weights are loaded from a file of the same network, and from no other."""

import threading
import time
import warnings

import h5py
import keras
import numpy as np
import pytest

import keras_resnet
from comparing import same
from keras_resnet import saving
from keras_resnet.models.catalog import find
from keras_resnet.weights.conversion import convert

STAGES = {"stage_units": (1, 2), "stage_filters": (16, 32)}


@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
def test_a_file_of_another_network_is_refused_by_the_names_of_its_layers(tmp_path, ending):
    """ResNet20 and ResNet20V2 have tensors of the same shapes; a `.keras` file also shows the order of its units."""
    model, path = keras_resnet.ResNet20(), tmp_path / f"v1{ending}"
    model.save(path) if ending == ".keras" else model.save_weights(path)
    words = {".keras": "are for `order='original'`", ".weights.h5": "does not fit 'resnet20v2'.*head_bn"}[ending]
    with pytest.raises(ValueError, match=f"v1.*{words}"):
        keras_resnet.ResNet20V2(weights=path)
    with pytest.raises(ValueError, match=r"stage1_unit4_conv1"):
        keras_resnet.ResNet32(weights=path)
    with pytest.raises(
        ValueError, match=r"kernel has the shape \(3, 3, 16, 16\) in the source and \(3, 3, 16, 64\) in the network"
    ):
        keras_resnet.CifarResNet(20, width=4.0, weights=path)


def test_a_named_network_refuses_a_file_with_another_order_or_without_shortcuts(tmp_path):
    """He et al. 2016 have another order, the plain networks of 2015 no shortcuts; tensors do not show the latter."""
    paths = {}
    for name in ("resnet8", "resnet8v2", "plainnet8"):
        network = find(name)
        paths[name] = tmp_path / f"{name}.keras"
        saving.save(network(), paths[name], {"model": name, "network": network.spec.to_config({})})
    for name, path in paths.items():
        assert same(find(name)(weights=path), saving.load(path)[0])
        for other in paths.keys() - {name}:
            with pytest.raises(ValueError, match=rf"{name}.keras' are for `(order|shortcut)=.*Received: \1="):
                find(other)(weights=path)
    assert find("resnet8")(weights=paths["resnet8v2"], order="full_preactivation").get_layer("head_bn")
    with pytest.raises(ValueError, match=r"are for `order='original'`. Received: order='full_preactivation'"):
        convert(paths["resnet8"], tmp_path / "no.keras", "resnet8v2")


def test_a_file_of_no_supported_kind_is_refused_with_those_that_are(tmp_path):
    np.savez(tmp_path / "weights.npz", kernel=np.zeros(1))
    with pytest.raises(ValueError, match=r"must end in \.keras, \.weights\.h5, .*\.safetensors, .*weights\.npz'$"):
        keras_resnet.ResNet20(weights=tmp_path / "weights.npz")
    model = keras_resnet.CifarResNet(8, input_shape=(8, 8, 3))
    model.save_weights(tmp_path / "net.weights.h5")
    (tmp_path / "net.weights.h5").rename(tmp_path / "net.weights")  # its contents tell
    assert same(keras_resnet.CifarResNet(8, input_shape=(8, 8, 3), weights=tmp_path / "net.weights"), model)


@pytest.mark.parametrize(
    "weights", [{"conv1.weight": np.zeros(3)}, np.zeros(3), True], ids=["state dict", "array", "flag"]
)
def test_weights_that_are_no_path_are_refused_with_what_to_do(weights):
    with pytest.raises(
        ValueError, match=r"a state dict or a model has to be saved first. Received: .* type (dict|nda|bool)"
    ):
        keras_resnet.ResNet18(weights=weights)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_weights_for_images_of_other_channels_are_refused(tmp_path, data_format):
    keras_resnet.CifarResNet(8, input_shape=(8, 8, 3), data_format="channels_last").save(tmp_path / "colour.keras")
    shape = (8, 8, 1) if data_format == "channels_last" else (1, 8, 8)
    for given in ({"input_shape": shape}, {"input_tensor": keras.Input(shape)}):
        with pytest.raises(ValueError, match=r"must have 3 channels for the weights of .*colour.keras'. Rec"):
            keras_resnet.CifarResNet(8, weights=tmp_path / "colour.keras", data_format=data_format, **given)


def test_weights_of_a_trained_model_can_be_used_without_its_normalisation(tmp_path):
    image = keras.Input((32, 32, 3))
    layer = keras.layers.Normalization(mean=[1.0] * 3, variance=[1.0] * 3)
    model = keras_resnet.ResNet20(input_tensor=layer(image))
    model.save(tmp_path / "trained.keras")
    bare = keras_resnet.ResNet20(weights=tmp_path / "trained.keras", include_preprocessing=False)
    assert same(bare, model)


@pytest.mark.parametrize(
    ("network", "choices"),
    [
        (keras_resnet.ResNet50, {"stride_on": "3x3"}),
        (keras_resnet.ResNet50, {"stride_on": "1x1"}),
        (keras_resnet.ResNet50, {"bn_epsilon": 0.1}),
        (keras_resnet.ResNet50, {"downsample": "max_pool"}),
        (keras_resnet.ResNet50V2, {"stem": "unactivated", "downsample": "last_unit", "stride_on": "3x3"}),
        (keras_resnet.ResNet18, {"stem": "cifar", "shortcut": "A"}),
        (keras_resnet.PlainNet18, {"downsample": "last_unit"}),
        (keras_resnet.ResNet18, {"order": "bn_after_addition"}),
        (keras_resnet.ResNet18, {"order": "relu_before_addition"}),
        (keras_resnet.ResNet18, {"order": "relu_only_preactivation"}),
        (keras_resnet.ResNet18, {"skip": "constant_scaling", "residual_scale": 0.75}),
        (keras_resnet.ResNet18, {"skip": "shortcut_only_gating"}),
        (keras_resnet.ResNet18, {"skip": "constant_scaling", "skip_everywhere": False}),
        (keras_resnet.ResNet18, {"skip": "exclusive_gating", "shortcut": "A", "skip_everywhere": False}),
        (keras_resnet.ResNet18V2, {"skip": "exclusive_gating", "stochastic_depth": 0.2}),
    ],
)
def test_a_file_that_keras_saved_brings_its_layout(tmp_path, seeded, network, choices):
    built = {"input_shape": (40, 40, 3), "classifier_activation": None, **STAGES}
    seeded(network(classes=3, **built, **choices)).save(tmp_path / "tuned.keras")
    images = np.random.default_rng(0).standard_normal((2, 40, 40, 3)).astype("float32")
    plain = keras.models.load_model(tmp_path / "tuned.keras")
    again = network(weights=tmp_path / "tuned.keras", classes=3, **built)
    actual, expected = (keras.ops.convert_to_numpy(model(images)) for model in (again, plain))
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_a_layout_that_contradicts_a_file_that_keras_saved_is_refused(tmp_path):
    keras_resnet.ResNet50(input_shape=(32, 32, 3), stride_on="3x3", **STAGES).save(tmp_path / "tuned.keras")
    with pytest.raises(ValueError, match=r"are for `stride_on='3x3'`. Received: stride_on='1x1'"):
        keras_resnet.ResNet50(weights=tmp_path / "tuned.keras", stride_on="1x1", **STAGES)
    keras_resnet.CifarResNet(8).save(tmp_path / "with.keras")
    with pytest.raises(ValueError, match=r"are for `shortcut='A'`. Received: shortcut=None"):
        find("plainnet8")(weights=tmp_path / "with.keras")


def test_the_user_says_which_convolution_of_a_weights_file_has_the_stride(tmp_path):
    path = tmp_path / "x.weights.h5"
    keras_resnet.ResNet50(input_shape=(32, 32, 3), **STAGES).save_weights(path)
    words = "x.weights.h5' does not record which convolution of a unit has the stride; '1x1' is"
    with pytest.warns(UserWarning, match=words) as warned:
        keras_resnet.ResNet50(weights=path, **STAGES)
    assert [warning.filename for warning in warned if "stride" in str(warning.message)] == [__file__]
    keras_resnet.ResNet18(input_shape=(32, 32, 3), **STAGES).save_weights(tmp_path / "basic.weights.h5")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*has the stride")
        keras_resnet.ResNet50(weights=path, stride_on="3x3", **STAGES)
        keras_resnet.ResNet18(weights=tmp_path / "basic.weights.h5", **STAGES)


@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
def test_a_damaged_file_is_refused_in_one_line(tmp_path, ending):
    path = tmp_path / f"broken{ending}"
    path.write_bytes(b"not a model")
    with pytest.raises(ValueError, match="broken") as error:
        keras_resnet.ResNet20(weights=path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["external link", "external storage", "virtual", "group", "text"])
@pytest.mark.parametrize("ending", [".weights.h5", ".h5"])
def test_weights_are_read_from_no_other_file_than_the_given_one(tmp_path, ending, kind):
    """HDF5 has links to other files, whose contents a converted network would hold. Keras refuses them, too."""
    path, other = tmp_path / f"net{ending}", tmp_path / "private.h5"
    model = keras_resnet.CifarResNet(8)
    model.save(path) if ending == ".h5" else model.save_weights(path)
    np.arange(10, dtype="float32").tofile(tmp_path / "private.bin")
    with h5py.File(other, "w") as file:
        file["secret"] = np.arange(10, dtype="float32")
    with h5py.File(path, "r+") as file:
        biases = []
        file.visititems(lambda name, item: biases.append(name) if getattr(item, "shape", None) == (10,) else None)
        (bias,) = biases  # that of the logits
        del file[bias]
        if kind == "external link":
            file[bias] = h5py.ExternalLink(other, "secret")
        elif kind == "external storage":
            file.create_dataset(bias, (10,), "float32", external=[(tmp_path / "private.bin", 0, 40)])
        elif kind == "virtual":
            layout = h5py.VirtualLayout((10,), "float32")
            layout[:] = h5py.VirtualSource(other, "secret", (10,))
            file.create_virtual_dataset(bias, layout)
        elif kind == "group":
            file.create_group(bias)
        else:
            file[bias] = np.array([b"text"] * 10)
    with pytest.raises(ValueError, match=r"net\..*h5' is not a supported file.*: it has no numbers of its own"):
        keras_resnet.CifarResNet(8, weights=path)


def test_a_head_that_the_user_did_not_ask_to_replace_is_warned_of(tmp_path):
    keras_resnet.ResNet20(classes=3).save(tmp_path / "three.keras")
    with pytest.warns(UserWarning, match="three.keras' has 3 classes; the dense layer for 10 is initialised") as warned:
        keras_resnet.ResNet20(weights=tmp_path / "three.keras")
    assert [warning.filename for warning in warned if "has 3" in str(warning.message)] == [__file__]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*is initialised at random")
        keras_resnet.ResNet20(weights=tmp_path / "three.keras", classes=5)


def test_a_run_folder_stands_for_its_model(tmp_path):
    model = keras_resnet.CifarResNet(8)
    model.save(tmp_path / "model.keras")
    assert same(keras_resnet.CifarResNet(8, weights=tmp_path), model)


def test_a_tilde_stands_for_the_home_folder(tmp_path, monkeypatch):
    """As in the names of data sets; on the command line, shells expand it only at the beginning of a word."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    model = keras_resnet.CifarResNet(8)
    for name in ("run.keras", "~old.keras"):  # the latter is no home folder
        model.save(tmp_path / name)
    for path in ("~/run.keras", "~old.keras"):
        assert same(keras_resnet.CifarResNet(8, weights=path), model)


def test_the_size_of_images_is_that_of_the_stem_of_the_weights(tmp_path, seeded):
    choices = {"stem": "cifar", "width": 0.125}
    model = seeded(keras_resnet.ResNet18(classes=3, **choices))
    info = {"model": "resnet18", "network": keras_resnet.ResNet18.respec(**choices).to_config(())}
    saving.save(model, tmp_path / "small.keras", info)
    again = keras_resnet.ResNet18(weights=tmp_path / "small.keras", classes=3)
    assert again.input_shape == (None, 32, 32, 3)
    assert same(again, model)
    assert keras_resnet.ResNet18(weights=tmp_path / "small.keras", classes=3, input_shape=(8, 8, 3)).built
    with pytest.raises(ValueError, match=r"at least 8x8.*Received: input_shape=\(7, 8, 3\)"):
        keras_resnet.ResNet18(weights=tmp_path / "small.keras", classes=3, input_shape=(7, 8, 3))


def test_weights_that_several_processes_need_are_downloaded_by_one_at_a_time(tmp_path, monkeypatch):
    """Keras writes to the cache in place: another process would find half of a file, and begin it again."""
    downloading, most = [], []

    def download(**_):
        downloading.append("one")
        most.append(len(downloading))
        time.sleep(0.1)
        downloading.pop()
        raise OSError("offline")

    def read():
        with pytest.raises(ValueError, match="cannot be downloaded: offline"):
            keras_resnet.ResNet50(weights="imagenet")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(keras.applications, "ResNet50", download)
    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1]
    (tmp_path / "file").touch()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "file"))  # where nothing can be locked
    read()
    assert len(most) == 4
