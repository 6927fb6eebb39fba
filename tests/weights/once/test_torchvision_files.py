"""torchvision's files: what they say about a network, and which are refused."""

import argparse
import errno
from pathlib import Path

import keras
import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors.numpy import save_file

import keras_resnet
import references
from keras_resnet.weights.conversion import convert
from keras_resnet.weights.pretrained import tensors_of
from keras_resnet.weights.torch_files import read_state
from keras_resnet.weights.torch_names import to_state


def test_without_preprocessing_it_takes_the_images_of_torchvisions_network(shared, tmp_path):
    save_file(references.state(shared, 18), tmp_path / "theirs.safetensors")
    model = keras_resnet.ResNet18(
        weights=tmp_path / "theirs.safetensors", classifier_activation=None, include_preprocessing=False
    )
    logits = keras.ops.convert_to_numpy(model(references.images(shared)))
    np.testing.assert_allclose(logits, references.logits(shared, 18), atol=1e-4)


@pytest.mark.parametrize("wrapped", [lambda state: state, lambda state: {"state_dict": state, "epoch": 3}])
def test_a_pth_file_is_read_and_written(shared, tmp_path, wrapped):
    state = {f"module.{name}": torch.tensor(value) for name, value in references.state(shared, 18).items()}
    torch.save(wrapped(state), tmp_path / "theirs.pth")
    convert(tmp_path / "theirs.pth", tmp_path / "back.pth", "resnet18", to="torchvision")
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    assert back["layer2.0.downsample.1.running_var"].equal(state["module.layer2.0.downsample.1.running_var"])
    assert back["fc.weight"].equal(state["module.fc.weight"])
    assert len(back) == len(state)


def test_a_type_of_numbers_that_numpy_does_not_have_is_refused_as_such(tmp_path):
    safetensors.torch.save_file({"fc.bias": torch.zeros(2).to(torch.float8_e4m3fn)}, tmp_path / "a.safetensors")
    with pytest.raises(
        ValueError, match=r"a.safetensors' holds a type of numbers that cannot be read; save it in float"
    ):
        read_state(tmp_path / "a.safetensors")


@pytest.mark.parametrize(("key", "average"), [("state_dict", "state_dict_ema"), ("model", "model_ema")])
def test_the_averaged_weights_of_a_checkpoint_are_read(tmp_path, key, average):
    """Like `timm.create_model(checkpoint_path=...)`. timm has the first names, torchvision the others."""
    last, averaged = {"fc.bias": torch.tensor([1.0])}, {"module.fc.bias": torch.tensor([2.0])}
    torch.save({"epoch": 3, key: last, average: {**averaged, "n_averaged": torch.tensor(9)}}, tmp_path / "a.pth")
    torch.save({"epoch": 3, key: last, average: None}, tmp_path / "none.pth")  # as timm without an average
    assert {name: value.tolist() for name, value in read_state(tmp_path / "a.pth").items()} == {"fc.bias": [2.0]}
    assert read_state(tmp_path / "none.pth")["fc.bias"].tolist() == [1.0]


@pytest.mark.parametrize(
    "prefix",
    [
        "_orig_mod.",  # torch.compile
        "module._orig_mod.",  # DataParallel of a compiled network
        "model.",  # Lightning
    ],
)
@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_the_prefix_of_a_wrapper_around_the_network_is_removed(tmp_path, seeded, prefix, ending):
    small = {"stage_units": (1,), "stage_filters": (4,), "stem": "cifar", "classes": 2, "input_shape": (8, 8, 3)}
    expected = seeded(keras_resnet.ResNet(**small))
    state = {f"{prefix}{name}": value for name, value in to_state(tensors_of(expected)).items()}
    if ending == ".pth":
        torch.save({"state_dict": {name: torch.tensor(value) for name, value in state.items()}}, tmp_path / "a.pth")
    else:
        save_file(state, tmp_path / "a.safetensors")
    actual = keras_resnet.ResNet(**small, weights=tmp_path / f"a{ending}", include_preprocessing=False)
    assert all(map(np.array_equal, actual.get_weights(), expected.get_weights()))


def test_checkpoints_of_training_programs_are_read(tmp_path, seeded):
    """timm's hold the arguments of its training program, and torch's AveragedModel a counter of its own."""
    small = {"stage_units": (1,), "stage_filters": (4,), "stem": "cifar", "classes": 2, "input_shape": (8, 8, 3)}
    expected = seeded(keras_resnet.ResNet(**small))
    state = {name: torch.tensor(value) for name, value in to_state(tensors_of(expected)).items()}
    averaged = {"n_averaged": torch.tensor(3), **{f"module.{name}": value for name, value in state.items()}}
    for name, checkpoint in (
        ("model_best.pth.tar", {"state_dict": state, "args": argparse.Namespace(lr=0.1, model="resnet"), "epoch": 3}),
        ("last.ckpt", {"state_dict": {f"model.{name}": value for name, value in state.items()}}),
        ("averaged.pth", averaged),
    ):
        torch.save(checkpoint, tmp_path / name)
        actual = keras_resnet.ResNet(**small, weights=tmp_path / name, include_preprocessing=False)
        assert all(map(np.array_equal, actual.get_weights(), expected.get_weights())), name


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        (
            "conv1.weight",
            lambda value: value * float("nan"),
            r"stem_conv/kernel \(conv1.weight\) has values that are not",
        ),
        ("bn1.running_var", lambda value: (value * 1e6).half(), r"\(bn1.running_var\) has values that are not finite"),
        (
            "bn1.running_var",
            lambda value: -value,
            r"stem_bn/moving_variance \(bn1.running_var\) has negative variances",
        ),
        ("fc.weight", lambda value: value.to(torch.int8), r"\(fc.weight\) has the type int8, and not floating-point"),
        ("fc.weight", lambda value: value.to(torch.complex64), r"\(fc.weight\) has the type complex64"),
        ("fc.weight", lambda value: value.to_sparse(), r"holds fc.weight, which is not an ordinary dense tensor"),
        ("fc.weight", lambda value: value.to("meta"), r"holds fc.weight, which is not an ordinary dense tensor"),
        ("module.conv1.weight", lambda value: torch.zeros(4, 3, 3, 3), r"holds module.conv1.weight, which no network"),
    ],
)
def test_values_that_no_network_computes_with_are_refused_in_one_line(tmp_path, seeded, name, change, words):
    """From a training that diverged, a conversion to half precision, a quantisation, or two networks in one file."""
    small = {"stage_units": (1,), "stage_filters": (4,), "stem": "cifar", "classes": 2, "input_shape": (8, 8, 3)}
    state = to_state(tensors_of(seeded(keras_resnet.ResNet(**small))))
    state = {key: torch.tensor(value) for key, value in state.items()}
    torch.save({**state, name: change(state.get(name))}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=words) as error:
        keras_resnet.ResNet(**small, weights=tmp_path / "a.pth", include_preprocessing=False)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch, ending):
    path = tmp_path / f"locked{ending}"
    path.write_bytes(b"")

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(PermissionError, match=r"Permission denied: .*locked"):
        read_state(path)


def test_a_state_dict_may_hold_parameters(shared, tmp_path):
    """As from `dict(network.named_parameters())`, with the buffers."""
    state = {name: torch.tensor(value) for name, value in references.state(shared, 18).items()}
    learned = {name: torch.nn.Parameter(value) if value.is_floating_point() else value for name, value in state.items()}
    torch.save(learned, tmp_path / "learned.pth")
    model = keras_resnet.ResNet18(weights=tmp_path / "learned.pth")
    kernel = keras.ops.convert_to_numpy(model.get_layer("stem_conv").kernel)
    np.testing.assert_array_equal(kernel, state["conv1.weight"].numpy().transpose(2, 3, 1, 0))


class Wicked:
    """An object that runs code when it is unpickled."""

    def __reduce__(self):
        return print, ("code was run",)


def test_a_pickle_that_would_run_code_is_refused(tmp_path, capsys):
    torch.save({"conv1.weight": Wicked()}, tmp_path / "wicked.pth")
    with pytest.raises(ValueError, match=r"wicked.pth' is refused: it is a pickle of more than tensors") as error:
        keras_resnet.ResNet18(weights=tmp_path / "wicked.pth")
    assert "\n" not in str(error.value)
    assert "code was run" not in capsys.readouterr().out


def without(state, name):
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: without(state, "layer2.0.bn1.running_var"), r"lacks stage2_unit1_bn1/moving_variance \(layer2"),
        (
            lambda state: {**state, "layer2.0.se.weight": np.zeros(3, "float32")},
            "se.weight, which no .*: channel att",
        ),
        (
            lambda state: {**state, "fc.1.weight": np.zeros((3, 3), "float32")},
            "fc.1.weight, which no .*: a head of",
        ),
        (lambda state: {**state, "layer4.2.conv1.weight": state["layer4.1.conv1.weight"]}, "has no stage4_unit3_conv1"),
        (
            lambda state: {**state, "layer1.0.conv1.weight": state["layer1.0.conv1.weight"][:, :1].copy()},
            r"unit1_conv1/kernel \(layer1.0.conv1.weight\) has the shape \(3, 3, 1, 64\) in the source "
            r"and \(3, 3, 64, 64\) in the network",
        ),
    ],
)
def test_a_missing_a_surplus_and_a_misshaped_tensor_are_named(shared, tmp_path, change, words):
    save_file(change(references.state(shared, 18)), tmp_path / "changed.safetensors")
    with pytest.raises(ValueError, match=words):
        keras_resnet.ResNet18(weights=tmp_path / "changed.safetensors")


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"not a file of tensors", b"\x00" * 64])
def test_a_damaged_file_is_refused_in_one_line(tmp_path, ending, content):
    path = tmp_path / f"broken{ending}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="broken") as error:
        keras_resnet.ResNet18(weights=path)
    assert "\n" not in str(error.value)


def test_a_head_of_dropout_and_a_dense_layer_is_read_as_its_dense_layer(shared, tmp_path):
    """`network.fc = Sequential(Dropout(), Linear(512, 1000))`, as many programs that fine-tune have it."""
    state = references.state(shared, 18)
    save_file(state, tmp_path / "plain.safetensors")
    wrapped = {name.replace("fc.", "fc.1."): value for name, value in state.items()}
    save_file(wrapped, tmp_path / "wrapped.safetensors")
    models = [keras_resnet.ResNet18(weights=tmp_path / f"{name}.safetensors") for name in ("plain", "wrapped")]
    for expected, actual in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("numbers", ["0", "14"])
def test_a_head_that_may_compute_something_else_is_refused(shared, tmp_path, numbers):
    """Such as an activation after its first and only dense layer, or two dense layers."""
    state = references.state(shared, 18)
    head = {f"fc.{number}.{name}": state.pop(f"fc.{name}") for name in ("weight", "bias") for number in numbers[:1]}
    head |= {f"fc.{number}.bias": head["fc.1.bias"] for number in numbers[1:]}
    save_file({**state, **head}, tmp_path / "head.safetensors")
    with pytest.raises(ValueError, match=r"holds fc\.\d\.\w+, which no .*: a head of several layers"):
        keras_resnet.ResNet18(weights=tmp_path / "head.safetensors")


def test_two_tensors_of_a_file_that_are_one_of_the_network_are_refused(shared, tmp_path):
    """Which of them is meant, such as of the heads of CIFAR networks and of torchvision's, is not known."""
    state = references.state(shared, 18)
    save_file({**state, "linear.weight": 2 * state["fc.weight"]}, tmp_path / "two.safetensors")
    with pytest.raises(ValueError, match=r"two.safetensors' holds linear.weight and another tensor for logits/kernel"):
        keras_resnet.ResNet18(weights=tmp_path / "two.safetensors")


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({0: torch.zeros(2)}, "0"),
        ({"fc.scale": torch.ones(()), "fc._packed_params.dtype": torch.qint8}, "fc._packed_p"),
    ],
    ids=["numbered", "quantised"],
)
def test_a_dict_with_other_entries_than_names_and_tensors_is_not_a_state_dict(tmp_path, entries, words):
    torch.save(entries, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=rf"pth' does not hold a state dict of tensors. Received: a dict with {words}"):
        read_state(tmp_path / "other.pth")


def test_the_stride_is_that_of_these_weights_and_not_the_papers(shared, tmp_path):
    """If the user asks for the paper's, the weights do not fit, although every tensor does."""
    save_file(references.state(shared, 50), tmp_path / "theirs.safetensors")
    model = keras_resnet.ResNet50(weights=tmp_path / "theirs.safetensors")
    assert model.get_layer("stage2_unit1_conv2").strides == (2, 2)
    with pytest.raises(ValueError, match=r"are for `stride_on='3x3'`. Received: stride_on='1x1'"):
        keras_resnet.ResNet50(weights=tmp_path / "theirs.safetensors", stride_on="1x1")


def test_a_network_that_torchvision_does_not_have_is_not_written_for_it(tmp_path):
    keras_resnet.ResNet20().save(tmp_path / "cifar.keras")
    keras_resnet.ResNet50(classes=7, input_shape=(32, 32, 3)).save(tmp_path / "paper.keras")
    choices = {"classes": 7, "input_shape": (32, 32, 3), "skip": "dropout", "skip_dropout": 0.3}
    keras_resnet.ResNet18(**choices).save(tmp_path / "dropout.keras")
    for file, name, words in (
        ("cifar.keras", "resnet20", "torchvision has no network like this resnet20"),
        ("dropout.keras", "resnet18", "torchvision has no network like this resnet18"),
        ("paper.keras", "resnet50", "has `stride_on='1x1'`, torchvision's `stride_on='3x3'`, so that torchvision's"),
    ):
        with pytest.raises(ValueError, match=words):
            convert(tmp_path / file, tmp_path / "out.pth", name, to="torchvision")
    keras_resnet.ResNet18(input_shape=(32, 32, 1)).save(tmp_path / "grey.keras")
    with pytest.raises(
        ValueError, match=r"torchvision's networks take images of 3 channels. Received: a resnet18 for 1"
    ):
        convert(tmp_path / "grey.keras", tmp_path / "out.pth", "resnet18", to="torchvision")
    assert not (tmp_path / "out.pth").exists()
