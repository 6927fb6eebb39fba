"""timm's networks of version 2: their logits, what their files say about them, and which are refused."""

import json

import cv2
import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import keras_resnet
import references
from comparing import alike, call
from keras_resnet import saving
from keras_resnet.weights.conversion import convert

NETWORKS = {"resnet18v2": (2, 2, 2, 2), "resnet50v2": (3, 4, 6, 3)}
FILTERS = (64, 128, 256, 512)
SMALL = {"stage_units": (1, 1), "stage_filters": (8, 16)}


def state_of(shared, name):
    return references.timm_v2_state(shared, NETWORKS[name], FILTERS, bottleneck=name == "resnet50v2")


@pytest.fixture
def small(shared):
    """The state dict of a small network with bottleneck units."""
    return references.timm_v2_state(shared, *SMALL.values())


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_of_photographs_and_the_weights_back_again(shared, tmp_path, name):
    """They are normalised by a mean and a deviation of 0.5, as timm's configs of these networks say."""
    state, ours = state_of(shared, name), tmp_path / "ours.keras"
    save_file(state, tmp_path / "theirs.safetensors")
    report = convert(tmp_path / "theirs.safetensors", ours, name)
    assert report["tensors"] == sum(not key.endswith("num_batches_tracked") for key in state)
    assert report["normalization"] == {"mean": 3 * [127.5], "deviation": 3 * [127.5]}
    assert (report["view"], report["labels"]) == ({"size": 224, "resize": 256}, 1000)
    files = sorted((shared / "data/imagenet_sample").glob("*.JPEG"))[:2]
    images = np.stack([cv2.resize(cv2.imread(str(file))[..., ::-1], (224, 224)) for file in files]).astype("float32")
    model, _ = saving.load(ours)
    expected = references.timm_v2_logits(state, images / 127.5 - 1)
    alike(call(keras_resnet.features(model, ["logits"]), images)["logits"], expected, 1e-5)
    convert(ours, tmp_path / "back.safetensors", to="timm")
    back = load_file(tmp_path / "back.safetensors")
    assert back.keys() == state.keys()
    assert all(np.array_equal(back[key], value) for key, value in state.items() if "num_batches" not in key)


def test_its_config_gives_the_normalisation_and_the_view(small, tmp_path):
    save_file(small, tmp_path / "a.safetensors")
    settings = {"input_size": [3, 288, 288], "crop_pct": 0.9, "mean": 3 * [0.25], "std": 3 * [0.5]}
    config = {"architecture": "resnetv2_50", "pretrained_cfg": settings}
    (tmp_path / "config.json").write_text(json.dumps(config))
    report = convert(tmp_path / "a.safetensors", tmp_path / "out.keras", "resnet50v2", **SMALL)
    assert report["normalization"] == {"mean": 3 * [63.75], "deviation": 3 * [127.5]}
    assert report["view"] == {"size": 288, "resize": 320}


def test_the_layout_comes_with_the_weights_and_is_that_of_no_other_network(small, tmp_path):
    path = tmp_path / "a.safetensors"
    save_file(small, path)
    model = keras_resnet.ResNet50V2(weights=path, **SMALL)
    assert not model.get_layer("stem_conv").use_bias
    assert model.get_layer("stage2_unit1_conv2").strides == (2, 2)
    model.save(tmp_path / "tuned.keras")
    again = keras_resnet.ResNet50V2(weights=tmp_path / "tuned.keras", **SMALL)
    assert all(map(np.array_equal, again.get_weights(), model.get_weights()))
    for choices, words in (
        ({"stem": "imagenet"}, r"`stem='bare'`. Received: stem='imagenet'"),
        ({"stride_on": "1x1"}, r"`stride_on='3x3'`. Received: stride_on='1x1'"),
    ):
        with pytest.raises(ValueError, match=f"are for {words}"):
            keras_resnet.ResNet50V2(weights=path, **SMALL, **choices)
    with pytest.raises(ValueError, match=r"are for `order='full_preactivation'`. Received: order='original'"):
        keras_resnet.ResNet50(weights=path, **SMALL)
    with pytest.raises(ValueError, match=r"lacks stage1_unit2_bn1/gamma \(stages.0.blocks.1.norm1.weight\)"):
        keras_resnet.ResNet50V2(weights=path, stage_units=(2, 1), stage_filters=(8, 16))


@pytest.mark.parametrize("classes", [0, 7])
def test_without_a_head_or_with_another_the_rest_is_kept(small, tmp_path, classes):
    headless = {name: value for name, value in small.items() if classes or not name.startswith("head.")}
    save_file(headless, tmp_path / "a.safetensors")
    model = keras_resnet.ResNet50V2(weights=tmp_path / "a.safetensors", include_top=False, **SMALL)
    kernel = keras.ops.convert_to_numpy(model.get_layer("stage2_unit1_conv3").kernel)
    np.testing.assert_array_equal(kernel.transpose(3, 2, 0, 1), small["stages.1.blocks.0.conv3.weight"])
    if classes:
        assert keras_resnet.ResNet50V2(weights=tmp_path / "a.safetensors", classes=7, **SMALL).output_shape[-1] == 7


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda state: {name.replace("stem.conv.", "stem.conv1."): value for name, value in state.items()},
            "holds stem.conv1.weight, which no network of keras_resnet has: a stem of several convolutions.$",
        ),
        (
            lambda state: {name: value for name, value in state.items() if "running" not in name},
            "has no statistics of batch norm: its network normalises in another way, such as by groups in timm's BiT",
        ),
    ],
    ids=["resnetv2_50d", "resnetv2_50x1_bit"],
)
def test_its_other_networks_of_version_2_are_refused_with_the_reason(small, tmp_path, change, words):
    save_file(change(small), tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=words) as error:
        keras_resnet.ResNet50V2(weights=tmp_path / "a.safetensors", **SMALL)
    assert "\n" not in str(error.value)


def test_a_network_with_another_stem_is_not_written_for_timm(tmp_path):
    keras_resnet.ResNet18V2(input_shape=(32, 32, 3), classes=3).save(tmp_path / "paper.keras")
    for library, words in (
        ("timm", "This resnet18v2 has `stem='imagenet'`, timm's `stem='bare'`, so that timm's would compute different"),
        ("torchvision", "torchvision has no network like this resnet18v2. It has ResNet18"),
    ):
        with pytest.raises(ValueError, match=words):
            convert(tmp_path / "paper.keras", tmp_path / "out.pth", "resnet18v2", to=library)
