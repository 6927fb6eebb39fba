"""What the config.json that timm writes beside its weights says about a network."""

import json

import pytest
from safetensors.numpy import save_file

import keras_resnet
import references
from keras_resnet.weights.conversion import convert


def beside(shared, folder, config):
    """torchvision's ResNet-18 in a folder with a config.json."""
    save_file(references.state(shared, 18), folder / "theirs.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder / "theirs.safetensors"


@pytest.mark.parametrize(
    "config",
    [
        [1],
        {"input_size": 224, "mean": None, "label_names": "cats"},
        {"pretrained_cfg": None, "label_descriptions": 3, "label_names": [1, 2]},
        {"pretrained_cfg": {"input_size": [3, "224", None], "std": [1, 1, 1], "label_names": []}},
    ],
)
def test_a_config_beside_it_that_is_not_timm_s_is_ignored(shared, tmp_path, config):
    report = convert(beside(shared, tmp_path, config), tmp_path / "out.keras", "resnet18")
    assert report["normalization"]["mean"] == [123.675, 116.28, 103.53]  # 255 * (0.485, 0.456, 0.406)
    assert (report["view"], report["labels"]) == ({"size": 224, "resize": 256}, 1000)


@pytest.mark.parametrize("crop", [None, 0, "0.9"])
def test_without_a_valid_crop_share_the_default_of_timm_is_used(shared, tmp_path, crop):
    path = beside(shared, tmp_path, {"input_size": [3, 288, 288], "crop_pct": crop})
    assert convert(path, tmp_path / "out.keras", "resnet18")["view"] == {"size": 288, "resize": 329}  # 288 / 0.875


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}, r"`mean` in the config.json beside '"),
        ({"pretrained_cfg": {"mean": [0.5] * 3, "std": [0.5, 0.0, 0.5]}}, r"safetensors' \(`std`\) must be .* above 0"),
        ({"mean": "imagenet", "std": [0.5] * 3}, r"\(`mean`\) must be one number per channel"),
    ],
)
def test_a_config_of_another_scale_is_refused_in_one_line(shared, tmp_path, config, words):
    """The first is mmcv's, for images of 0 to 255."""
    with pytest.raises(ValueError, match=words) as error:
        keras_resnet.ResNet18(weights=beside(shared, tmp_path, config))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "arguments",
    [{"output_stride": 8}, {"act_layer": "silu"}, {"aa_layer": "blurpool"}],
    ids=lambda chosen: next(iter(chosen)),
)
def test_a_network_of_timm_with_arguments_that_only_its_config_shows_is_refused(shared, tmp_path, arguments):
    """As in the configs that timm 1.0.31 writes with `save_for_hf`."""
    usual = {"in_chans": 3, "num_classes": 1000, "global_pool": "avg", "output_stride": 32, "act_layer": "relu"}
    config = {"architecture": "resnet18", "global_pool": "avg", "model_args": usual}
    assert keras_resnet.ResNet18(weights=beside(shared, tmp_path, config))
    ((name, value),) = arguments.items()
    with pytest.raises(ValueError, match=rf"safetensors' is of a network of timm with `{name}={value!r}`: no network"):
        keras_resnet.ResNet18(weights=beside(shared, tmp_path, {**config, "model_args": {**usual, **arguments}}))


def test_a_head_of_timm_that_takes_the_maximum_is_refused(shared, tmp_path):
    path = beside(shared, tmp_path, {"architecture": "resnet18", "global_pool": "max"})
    with pytest.raises(ValueError, match=r"pools its last feature map by 'max', while 'resnet18' averages"):
        keras_resnet.ResNet18(weights=path)
    assert keras_resnet.ResNet18(weights=path, classes=7).output_shape == (None, 7)
