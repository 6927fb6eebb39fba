"""From weights in any layout to a file in another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import saving
from ..data import DataError
from ..models import imagenet
from ..models.architectures import Architecture
from ..models.catalog import find
from ..models.spec import Spec, as_choices
from . import torch_files, torch_names
from .pretrained import TRAINING_ONLY, Pretrained, raw_statistic, tensors_of
from .reading import IMAGENET, check, labels, read

FORMATS = ("keras", "torchvision")
_IN_TORCHVISION = ("ResNet18", "ResNet34", "ResNet50", "ResNet101", "ResNet152")


def convert(
    source: str | Path,
    out: str | Path,
    model: str | None = None,
    *,
    to: str = "keras",
    class_labels: str | Sequence[str] | None = None,
    mean: Sequence[float] | None = None,
    deviation: Sequence[float] | None = None,
    **choices: Any,
) -> dict[str, Any]:
    """Converts weights.

    Args:
        source: what `keras_resnet.weights.read` takes.
        out: the file to write: a `.keras` file of the whole model, which takes raw RGB images of 0 to 255 where it is
            known how the images were normalised; or a state dict (`.pth`, `.safetensors`) for torchvision's network.
        model: the network's name; None for the one that a `.keras` file of this package names.
        to: "keras" or "torchvision".
        class_labels: "imagenet", "cifar10", "cifar100", or a name a class, where the source does not know them.
        mean, deviation: of the images that the weights were trained on, a value a channel, from 0 to 1 as in PyTorch's
            world (for images of 0 to 255 divided by 255), deviations above 0; where the source does not know them.
        **choices: fields of `Spec` that differ from the named network's.

    Returns:
        What was done: "source", "out", "model", "tensors" (how many were read, all of which were used),
        "parameters", "classes", "labels", "normalization" and "view".

    Raises:
        ValueError: weights that do not fit the network, a network that torchvision does not have, a name of a file
            that does not fit what is written, classes that nobody knows, or a mean or deviation out of its bounds.
    """
    out = Path(out)
    _check_ending(out, to)
    check(source)
    architecture, chosen = _network(source, model, choices)
    pretrained = read(source, architecture.respec(**chosen), chosen, name=architecture.__name__.lower())
    pretrained = _told(pretrained, class_labels, mean, deviation)
    spec = pretrained.spec_for(architecture.respec, chosen)
    pretrained = pretrained.for_rgb()
    built = _build(architecture, pretrained, chosen)
    _check_labels(pretrained, built.output_shape[-1])
    info = {
        "model": architecture.__name__.lower(),
        "source": str(source),
        **_known(pretrained),
        "network": spec.to_config({**pretrained.layout, **chosen}),
    }
    if to == "keras":
        saving.save(built, out, info)
    else:
        torch_files.write_state(_for_torchvision(tensors_of(built), spec, info["model"]), out)
    return {
        "source": str(source),
        "out": str(out),
        "model": info["model"],
        "tensors": len(pretrained.tensors),
        "parameters": sum(int(np.prod(variable.shape)) for variable in built.trainable_variables),
        "classes": built.output_shape[-1],
        "labels": len(pretrained.class_names or ()),
        "normalization": _normalization(pretrained),
        "view": dict(pretrained.view),
    }


def _check_ending(out: Path, to: str) -> None:
    if to not in FORMATS:
        raise ValueError(f"`to` must be one of {', '.join(FORMATS)}. Received: {to!r}")
    endings = (".keras",) if to == "keras" else torch_files.ENDINGS
    if out.suffix not in endings:
        raise ValueError(f"A file for {to} ends in {', '.join(endings)}. Received: {str(out)!r}")


def _network(source: str | Path, model: str | None, choices: Mapping[str, Any]) -> tuple[Architecture, dict[str, Any]]:
    """The network that a user named, or the source does, and what was chosen of it."""
    ours = source != IMAGENET and saving.model_file(source).suffix == ".keras"
    info = saving.read_info(source) if ours else {}
    name = model or info.get("model")
    if name is None:
        raise ValueError(f"{str(source)!r} does not name its network. Name it: --model resnet50")
    chosen = {**(as_choices(info.get("network", {})) if model is None else {}), **choices}
    return find(name, chosen.get("unit")), chosen


def _told(
    pretrained: Pretrained,
    class_labels: str | Sequence[str] | None,
    mean: Sequence[float] | None,
    deviation: Sequence[float] | None,
) -> Pretrained:
    """The weights with what their user knows of them."""
    if isinstance(class_labels, str):
        try:
            pretrained = replace(pretrained, **labels(class_labels))
        except (DataError, KeyError) as error:
            raise ValueError(f"No such labels: {error}") from error
    elif class_labels is not None:
        pretrained = replace(pretrained, class_names=tuple(class_labels), class_ids=None)
    if pretrained.classes:
        _check_labels(pretrained, pretrained.classes)
    for field, value in (("mean", mean), ("deviation", deviation)):
        if value is not None:
            pretrained = replace(pretrained, **{field: raw_statistic(field, value)})
    if pretrained.deviation is not None and not pretrained.normalised:
        raise ValueError("A deviation needs a mean. Give --mean too.")
    return pretrained


def _check_labels(pretrained: Pretrained, classes: int) -> None:
    if (names := pretrained.class_names) and len(names) != classes:
        raise ValueError(f"{pretrained.source} has {classes} classes. Received: {len(names)} labels")


def _build(architecture: Architecture, pretrained: Pretrained, chosen: Mapping[str, Any]) -> Any:
    return architecture(
        weights=pretrained,
        input_shape=pretrained.image_shape(None) if pretrained.view else None,  # photographs have any size
        classes=pretrained.classes or architecture.classes,
        data_format="channels_last",
        **chosen,
    )


def _known(pretrained: Pretrained) -> dict[str, Any]:
    """What a model file says of its images and classes."""
    known = {
        "input": "raw images, 0 to 255" if pretrained.normalised else "images normalised as the weights' author did",
        "normalization": _normalization(pretrained),
        "view": dict(pretrained.view),
        "class_names": pretrained.class_names and list(pretrained.class_names),
        "class_ids": pretrained.class_ids and list(pretrained.class_ids),
    }
    return {name: value for name, value in known.items() if value}


def _normalization(pretrained: Pretrained) -> dict[str, Any] | None:
    if not pretrained.normalised:
        return None
    if np.ndim(pretrained.mean) == 3:
        return {"mean": "by pixel"}
    known = {"mean": pretrained.mean, "deviation": pretrained.deviation}
    return {name: np.round(value, 4).tolist() for name, value in known.items() if value is not None}


def _for_torchvision(tensors: Mapping[str, np.ndarray], spec: Spec, name: str) -> dict[str, np.ndarray]:
    """The state dict of torchvision's network, if it has this one.

    Raises:
        ValueError: it has not.
    """
    free = {field: getattr(spec, field) for field in (*TRAINING_ONLY, "bn_epsilon")}
    there = [replace(getattr(imagenet, network).spec, **free) for network in _IN_TORCHVISION]
    if replace(spec, stride_on="3x3") not in [replace(network, stride_on="3x3") for network in there]:
        raise ValueError(f"torchvision has no network like this {name}. It has {', '.join(_IN_TORCHVISION)}.")
    if spec.unit == "bottleneck" and spec.stride_on != "3x3":
        raise ValueError(
            f"This {name} has the stride of a unit in its 1x1 convolution and torchvision's in the 3x3, so that its "
            "network would compute something else from these weights."
        )
    tensors = {
        key: value + np.float32(spec.bn_epsilon - torch_names.EPSILON) if key.endswith("moving_variance") else value
        for key, value in tensors.items()
    }
    return torch_names.to_state(tensors)
