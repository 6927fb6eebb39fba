"""Every network has the papers' parameters, multiply-adds, depth and shapes."""

import keras
import numpy as np
import pytest

import keras_resnet
from facts import (
    CIFAR100_ADDS,
    CIFAR_BOTTLENECK_PARAMETERS,
    CIFAR_MACS_A,
    CIFAR_PARAMETERS,
    IMAGENET_MACS_1X1,
    IMAGENET_MACS_3X3,
    IMAGENET_PARAMETERS,
    IMAGENET_UNITS,
    OPTION_C_ADDS_TO_RESNET34,
    PAPER_FLOPS,
    PAPER_PARAMETERS,
    RESNET34_A_MACS,
)
from keras_resnet.models.catalog import ARCHITECTURES, find
from keras_resnet.models.complexity import count

PARAMETERS = [
    (depth, row, parameters)
    for table in (CIFAR_PARAMETERS, IMAGENET_PARAMETERS)
    for depth, rows in table.items()
    for row, parameters in rows.items()
]


def spec_of(depth: int, row: str):
    version, option = row.split("_")
    return find(f"resnet{depth}{'v2' if version == 'v2' else ''}").respec(shortcut=option)


def trainable(model: keras.Model) -> int:
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def weighted(model: keras.Model, kind=(keras.layers.Conv2D, keras.layers.Dense)) -> list[keras.Layer]:
    return [layer for layer in model.layers if isinstance(layer, kind)]


def multiply_adds(model: keras.Model) -> int:
    """Counted from the Keras layers alone: the kernel's size at every position of the output."""
    total = 0
    for layer in weighted(model):
        positions = np.prod(layer.output.shape[1:-1]) if isinstance(layer, keras.layers.Conv2D) else 1
        total += int(np.prod(layer.kernel.shape) * positions)
    return total


@pytest.mark.parametrize(("depth", "row", "parameters"), PARAMETERS)
def test_trainable_parameters_of_every_row(depth, row, parameters):
    classes = 10 if depth in CIFAR_PARAMETERS else 1000
    assert count(spec_of(depth, row), classes).parameters == parameters


@pytest.mark.parametrize(("depth", "unit_rows"), CIFAR_BOTTLENECK_PARAMETERS.items())
def test_trainable_parameters_of_the_bottleneck_nets(depth, unit_rows):
    assert count(find(f"resnet{depth}").spec, 10).parameters == unit_rows["v1"]
    assert count(find(f"resnet{depth}v2").spec, 10).parameters == unit_rows["v2"]


def test_a_hundred_classes_add_what_the_papers_say():
    for name, unit in (("resnet110", "basic"), ("resnet164", "bottleneck")):
        spec = find(name).spec
        assert count(spec, 100).parameters - count(spec, 10).parameters == CIFAR100_ADDS[unit]


def test_a_plain_net_has_the_parameters_of_option_a():
    for depth in (20, 32, 44, 56, 110):
        assert count(find(f"plainnet{depth}").spec, 10).parameters == CIFAR_PARAMETERS[depth]["v1_A"]
    for depth in (18, 34):
        assert count(find(f"plainnet{depth}").spec, 1000).parameters == IMAGENET_PARAMETERS[depth]["v1_A"]


@pytest.mark.parametrize(("depth", "millions"), CIFAR_MACS_A.items())
def test_multiply_adds_of_the_cifar_nets(depth, millions):
    assert round(count(find(f"resnet{depth}").spec, 10).macs / 1e6, 2) == millions


@pytest.mark.parametrize("depth", IMAGENET_UNITS)
def test_multiply_adds_of_the_imagenet_nets(depth):
    network = find(f"resnet{depth}")
    assert round(count(network.spec, 1000).macs / 1e9, 3) == IMAGENET_MACS_1X1[depth]
    assert round(count(network.respec(stride_on="3x3"), 1000).macs / 1e9, 3) == IMAGENET_MACS_3X3[depth]


def test_multiply_adds_of_resnet34_with_option_a():
    assert round(count(find("resnet34").respec(shortcut="A"), 1000).macs / 1e9, 3) == RESNET34_A_MACS


def test_what_the_papers_print_agrees_with_what_is_counted():
    for depth, printed in PAPER_PARAMETERS.items():
        assert find(f"resnet{depth}").published["parameters"] == printed
        decimals = len(printed.strip("M").split(".")[1])
        assert round(CIFAR_PARAMETERS[depth]["v1_A"] / 1e6, decimals) == float(printed.strip("M"))
    for depth, printed in PAPER_FLOPS.items():
        assert find(f"resnet{depth}").published["macs"] == printed


def test_every_name_is_the_depth_of_its_network():
    assert len(ARCHITECTURES) == 35
    for name, network in ARCHITECTURES.items():
        depth = int("".join(filter(str.isdigit, name.removesuffix("v2"))))
        assert network.spec.depth == depth == count(network.spec, network.classes).layers


def test_option_c_adds_thirteen_projections_to_resnet34():
    projections = {option: count(find("resnet34").respec(shortcut=option)).projections for option in "ABC"}
    assert projections["A"] == 0
    assert projections["C"] - projections["B"] == OPTION_C_ADDS_TO_RESNET34
    built = [layer.name for layer in keras_resnet.ResNet34(shortcut="C").layers if "shortcut_conv" in layer.name]
    assert len(built) == projections["C"] == 16  # a projection a unit


# What is counted without Keras is what Keras builds.
BUILT = [
    *((20, row) for row in CIFAR_PARAMETERS[20]),
    *((18, row) for row in IMAGENET_PARAMETERS[18]),
    (56, "v1_A"),
    (110, "v2_A"),
    (34, "v1_C"),
    (50, "v1_A"),
    (50, "v1_B"),
    (50, "v2_B"),
    (101, "v1_B"),
    (152, "v2_B"),
    (200, "v1_B"),
]


@pytest.mark.parametrize(("depth", "row"), BUILT)
def test_the_built_network_has_the_parameters_the_multiply_adds_and_the_depth(depth, row):
    version, option = row.split("_")
    name = f"ResNet{depth}{'V2' if version == 'v2' else ''}"
    model = getattr(keras_resnet, name)(shortcut=option)
    table = CIFAR_PARAMETERS if depth in CIFAR_PARAMETERS else IMAGENET_PARAMETERS
    assert trainable(model) == table[depth][row]
    cost = count(spec_of(depth, row), model.output_shape[-1])
    assert multiply_adds(model) == cost.macs
    assert model.count_params() == cost.parameters + cost.moving_statistics
    main_path = [layer for layer in weighted(model) if "shortcut" not in layer.name]
    assert len(main_path) == depth


def test_a_thousand_layers_build_and_run():
    """`test_saving` shows on every backend that a file of more layers than Python's recursion limit opens."""
    model = keras_resnet.ResNet1202()
    assert trainable(model) == CIFAR_PARAMETERS[1202]["v1_A"]
    probabilities = keras.ops.convert_to_numpy(model(np.zeros((1, 32, 32, 3), "float32")))
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, rtol=1e-5)


def test_output_shapes_are_those_of_table_1():
    model = keras_resnet.ResNet50()
    shapes = {name: tuple(tensor.shape[1:]) for name, tensor in keras_resnet.taps(model).items()}
    assert shapes == {
        "stem": (56, 56, 64),
        "stage1": (56, 56, 256),
        "stage2": (28, 28, 512),
        "stage3": (14, 14, 1024),
        "stage4": (7, 7, 2048),
        "features": (7, 7, 2048),
        "pooled": (2048,),
        "logits": (1000,),
    }
    cifar = {name: tuple(tensor.shape[1:]) for name, tensor in keras_resnet.taps(keras_resnet.ResNet20()).items()}
    assert [cifar[f"stage{stage}"] for stage in (1, 2, 3)] == [(32, 32, 16), (16, 16, 32), (8, 8, 64)]


@pytest.mark.parametrize("choices", [{"shortcut": "C"}, {"skip": "exclusive_gating"}, {"skip": "shortcut_only_gating"}])
def test_projections_and_gates_are_not_among_the_layers_that_name_a_network(choices):
    assert count(find("resnet20").respec(**choices), 10).layers == 20


def test_an_image_may_be_as_small_as_the_total_stride():
    spec = find("resnet18").spec
    assert count(spec, 10, (32, 33, 3)).output_shapes[-1] == (1, 2, 512)
    with pytest.raises(ValueError, match=r"at least 32x32 pixels, the network's total stride\. Received: 31x33"):
        count(spec, 10, (31, 33, 3))
