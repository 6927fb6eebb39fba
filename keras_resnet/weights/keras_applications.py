"""The weights of keras.applications' ResNet50, 101 and 152 and their V2, under this package's layer names.

Those networks are the papers' with option B, except for biases in their convolutions and another epsilon in batch norm.
Both are folded into batch norm's moving statistics, so that the logits stay the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

from ..models.fast_layers import Functional
from ..models.graph import calls
from ..models.spec import Spec
from .pretrained import HEAD, Pretrained, other_activation

EPSILON = 1.001e-5  # in their batch norms
# How they normalise images: `keras.applications.imagenet_utils.preprocess_input` in the modes "caffe" and "tf".
V1: dict[str, Any] = {
    "layout": {"stride_on": "1x1"},
    "mean": np.array([123.68, 116.779, 103.939]),
    "deviation": np.ones(3),
    "reversed_channels": True,
}
V2: dict[str, Any] = {
    "layout": {"stem": "unactivated", "downsample": "last_unit", "stride_on": "3x3"},
    "mean": np.full(3, 127.5),
    "deviation": np.full(3, 127.5),
}


def is_resnet(layers: Iterable[str]) -> bool:
    """Returns whether layers of these names are those of a ResNet of keras.applications."""
    return "conv1_conv" in layers


def layers_of(model: keras.Model) -> list[keras.layers.Layer]:
    """Returns the layers of a model, with nested models replaced by their layers."""
    return [layer for layer in model._flatten_layers() if not isinstance(layer, keras.Model)]


def from_model(model: keras.Model, spec: Spec, source: str = "", **metadata: Any) -> Pretrained:
    """Converts the weights of a ResNet of keras.applications.

    Args:
        model: `keras.applications.ResNet50(...)`, 101 or 152, or their V2; or a model that contains one of them,
            followed by a dense layer of any name.
        spec: the network that will take the weights; they are adapted to its `bn_epsilon`.
        source: the model's name for messages.
        **metadata: further fields of `Pretrained`.

    Raises:
        ValueError: the model scales its images itself and in another way than `preprocess_input`.
    """
    source, layers = source or f"keras.applications' {model.name!r}", layers_of(model)
    if scaling := _own_scaling(model, preactivated=any(layer.name == "post_bn" for layer in layers)):
        raise _scaling_error(source, scaling)
    tensors = {
        f"{layer.name}/{variable.name}": keras.ops.convert_to_numpy(variable)
        for layer in layers
        for variable in layer.weights
    }
    norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    pools = [layer for layer in layers if isinstance(layer, keras.layers.GlobalMaxPooling2D)]
    other_head = "takes the maximum of its last feature map" if pools else other_activation(model)
    metadata = {"other_head": other_head, **metadata}
    return from_tensors(tensors, spec, source, {layer.name: layer.epsilon for layer in norms}, **metadata)


def from_tensors(
    originals: Mapping[str, np.ndarray],
    spec: Spec,
    source: str,
    epsilons: Mapping[str, float] | None = None,
    **metadata: Any,
) -> Pretrained:
    """Converts the weights of a ResNet of keras.applications, given as arrays.

    Args:
        originals: the weights by layer and variable, such as "conv1_conv/kernel".
        spec: the network that will take the weights; they are adapted to its `bn_epsilon`.
        source: the name of the weights for messages.
        epsilons: the epsilon of batch norms by layer; those that are not listed have `EPSILON`.
        **metadata: further fields of `Pretrained`.

    Raises:
        ValueError: tensors are missing, or a layer of the network scales the images.
    """
    if scaling := [name for name in originals if name.endswith("/variance")]:
        raise _scaling_error(source, scaling[0].split("/")[0])
    preactivated = "post_bn/gamma" in originals
    dense = {name.split("/")[0] for name, value in originals.items() if name.endswith("/kernel") and value.ndim == 2}
    tensors = {}
    for original_name, value in originals.items():
        layer, variable = original_name.split("/")
        name = HEAD + variable if dense == {layer} else package_name(original_name, preactivated)
        tensors[name] = value.astype("float32")
        if variable == "moving_variance":
            tensors[name] += (epsilons or {}).get(layer, EPSILON) - spec.bn_epsilon
    try:
        (_fold_biases_v2 if preactivated else _fold_biases_v1)(tensors)
    except KeyError as missing:
        raise ValueError(
            f"{source} is not a complete ResNet of keras.applications: it lacks {missing.args[0]}."
        ) from None
    defaults = V2 if preactivated else V1
    if tensors["stem_conv/kernel"].shape[2] != 3:  # it cannot have taken images from `preprocess_input`
        defaults = {"layout": defaults["layout"]}
    return Pretrained(source, tensors, **{**defaults, **metadata})


def check_layers(layers: Iterable[str], source: str) -> None:
    """Checks that none of the layers of a weights file, given by their names, is a `keras.layers.Rescaling`.

    Raises:
        ValueError: one is: the file does not say how it scales the images.
    """
    if scaling := [layer for layer in layers if re.fullmatch(r"rescaling(_\d+)?", layer)]:
        raise _scaling_error(source, scaling[0])


def _own_scaling(model: keras.Model, preactivated: bool) -> str | None:
    """Returns the name of the layer with which a model scales its images in another way than `preprocess_input`.

    What the model computes before the first convolution is compared on images of one colour each. It may be nothing,
    as in keras.applications, or `preprocess_input`; augmentation and resizing do not change such images.
    """
    mode = {"deviation": V2["deviation"], "mean": V2["mean"]} if preactivated else V1
    colours = np.random.default_rng(0).uniform(0, 255, (4, 3))
    usual = (colours - mode["mean"]) / mode["deviation"]
    usual = usual if preactivated else usual[:, ::-1]
    computed, name = colours, None
    for before in _before_the_network(model):
        shape = tuple(side or 64 for side in before.input_shape[1:])
        if shape[-1] != 3:
            return None
        name = before.operations[-1].name if len(before.operations) > 1 else name
        images = np.broadcast_to(computed[:, None, None], (4, *shape)).astype("float32")
        try:
            outputs = keras.ops.convert_to_numpy(before(images, training=False)).astype("float64")
        except Exception:  # not every backend can compute what the file's layers or operations are
            return name
        computed = outputs[:, outputs.shape[1] // 2, outputs.shape[2] // 2]
    near = [np.abs(computed - colour).max() < 0.01 * np.abs(colour).max() for colour in (colours, usual)]
    return None if any(near) else name


def _before_the_network(model: keras.Model) -> list[keras.Model]:
    """Returns the part of a model before its ResNet, and if that is nested in it the part before its first layer.

    For models that are not functional, whose graph is not known, the list is empty.
    """
    graph = getattr(model, "_functional", model)  # that of a `Sequential`
    if not isinstance(graph, Functional) or len(graph.inputs) != 1:
        return []
    nested = [layer for layer in graph.layers if isinstance(layer, keras.Model)]
    inner = next((layer for layer in nested if is_resnet(part.name for part in layers_of(layer))), None)
    first = calls(graph)["conv1_pad" if inner is None else inner.name][0]
    return [keras.Model(graph.inputs[0], first.input_tensors[0]), *(_before_the_network(inner) if inner else [])]


def _scaling_error(source: str, layer: str) -> ValueError:
    return ValueError(
        f"{source} scales its images with its own layer {layer!r} and not as keras.applications' `preprocess_input` "
        "does. Save the ResNet inside it without that layer, and pass `include_preprocessing=False`."
    )


def package_name(name: str, preactivated: bool = False) -> str:
    """Returns the name in this package of a tensor of keras.applications.

    "conv1_bn/gamma" becomes "stem_bn/gamma", "conv3_block2_0_conv/kernel" becomes "stage2_unit2_shortcut_conv/kernel".
    A preactivated unit begins with "preact_bn", so the numbers of its other batch norms increase by one.
    """
    layer, variable = name.split("/")
    layer = {"conv1_conv": "stem_conv", "conv1_bn": "stem_bn", "post_bn": "head_bn", "predictions": "logits"}.get(
        layer, layer
    )
    if match := re.fullmatch(r"conv(\d)_block(\d+)_(\d|preact)_(conv|bn)", layer):
        conv, block, place, kind = match.groups()
        if place == "0":
            part = f"shortcut_{kind}"
        elif place == "preact":
            part = "bn1"
        else:
            part = f"{kind}{int(place) + (preactivated and kind == 'bn')}"
        layer = f"stage{int(conv) - 1}_unit{block}_{part}"
    return f"{layer}/{variable}"


def _fold_biases_v1(tensors: dict[str, np.ndarray]) -> None:
    """Subtracts the bias of each convolution from the mean of the batch norm that follows it."""
    for name in [name for name in tensors if re.search(r"_conv\d?/bias$", name)]:
        tensors[re.sub(r"conv(\d?)/bias", r"bn\1/moving_mean", name)] -= tensors.pop(name)


def _fold_biases_v2(tensors: dict[str, np.ndarray]) -> None:
    """Subtracts the biases from the means of the batch norms at the beginning of the units that follow.

    Up to the next projection, only those batch norms read what a unit's biases add. The stem keeps its bias, since the
    max-pooling after it pads with zeros.
    """
    units = sorted({tuple(map(int, numbers)) for numbers in re.findall(r"stage(\d+)_unit(\d+)_", " ".join(tensors))})
    added: Any = np.float32(0)
    for stage, unit in units:
        name = f"stage{stage}_unit{unit}"
        tensors[f"{name}_bn1/moving_mean"] -= added
        projected = tensors.pop(f"{name}_shortcut_conv/bias", None)
        added = tensors.pop(f"{name}_conv3/bias") + (added if projected is None else projected)
    tensors["head_bn/moving_mean"] -= added
