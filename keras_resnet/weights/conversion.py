"""Conversion of weights from any supported source to a file of this package, of torchvision or of timm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import saving
from ..data import DataError
from ..models import imagenet
from ..models.architectures import V2, Architecture
from ..models.catalog import find
from ..models.spec import Spec, as_choices
from . import torch_files, torch_names
from .pretrained import Pretrained, raw_statistic, tensors_of
from .published import IRRELEVANT
from .reading import IMAGENET, check, labels, read

_IN_TORCHVISION = ("ResNet18", "ResNet34", "ResNet50", "ResNet101", "ResNet152")
# The networks of each library, by their names in this package.
_AVAILABLE = {
    "torchvision": _IN_TORCHVISION,
    "timm": (*_IN_TORCHVISION, "ResNet200", *(f"{name}V2" for name in _IN_TORCHVISION)),
}
FORMATS = ("keras", *_AVAILABLE)


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
        source: the weights, as `keras_resnet.weights.read` accepts them.
        out: the file to write: a `.keras` file of the model, which takes raw RGB images of 0 to 255 if the
            normalisation is known; or a state dict (`.pth`, `.safetensors`) for torchvision's or timm's network.
        model: the network's name; None for the one that a `.keras` file of this package records.
        to: "keras", "torchvision" or "timm".
        class_labels: "imagenet", "cifar10", "cifar100", or the name of each class; replaces what the source says.
        mean, deviation: mean and standard deviation of the training images, one number per channel, for pixels from 0
            to 1 as is usual in PyTorch (divide values for pixels from 0 to 255 by 255), deviations above 0; they
            replace what the source says.
        **choices: fields of `Spec` that differ from the named network's.

    Returns:
        A report: "source", "out", "model", "tensors" (the number of tensors read, all of which were used),
        "parameters", "classes", "labels" (the number of class names), "channels", "normalization" and "view".

    Raises:
        ValueError: the weights do not fit the network, torchvision or timm does not have the network, the output file
            has the wrong ending, the class names are unknown or of another number, or a mean or deviation is out of
            bounds.
    """
    out = Path(out)
    _check_ending(out, to)
    check(source)
    architecture, chosen = _network(source, model, choices)
    pretrained = read(source, architecture.respec(**chosen), chosen, name=architecture.__name__.lower())
    pretrained = _with_metadata(pretrained, class_labels, mean, deviation)
    spec = pretrained.spec_for(architecture.respec, chosen)
    pretrained = pretrained.for_rgb()
    built = _build(architecture, pretrained, chosen)
    _check_labels(pretrained, built.output_shape[-1])
    info = {
        "model": architecture.__name__.lower(),
        "source": str(source),
        **_file_info(pretrained),
        "network": spec.to_config({**pretrained.layout, **chosen}),
    }
    if to == "keras":
        saving.save(built, out, info)
    else:
        torch_files.write_state(_for_torch(tensors_of(built), spec, info["model"], to), out)
    return {
        "source": str(source),
        "out": str(out),
        "model": info["model"],
        "tensors": len(pretrained.tensors),
        "parameters": sum(int(np.prod(variable.shape)) for variable in built.trainable_variables),
        "classes": built.output_shape[-1],
        "labels": len(pretrained.class_names or ()),
        "channels": pretrained.image_shape(None)[-1],
        "normalization": _normalization(pretrained),
        "view": dict(pretrained.view),
    }


def _check_ending(out: Path, to: str) -> None:
    if to not in FORMATS:
        raise ValueError(f"`to` must be one of {', '.join(FORMATS)}. Received: {to!r}")
    endings = (".keras",) if to == "keras" else torch_files.ENDINGS
    if out.suffix not in endings:
        raise ValueError(f"A file for {to} must end in {', '.join(endings)}. Received: {str(out)!r}")


def _network(source: str | Path, model: str | None, choices: Mapping[str, Any]) -> tuple[Architecture, dict[str, Any]]:
    """Returns the network that the user or the source names, and its choices."""
    is_model_file = source != IMAGENET and saving.model_file(source).suffix == ".keras"
    info = saving.read_info(source) if is_model_file else {}
    name = model or info.get("model")
    if name is None:
        raise ValueError(
            f"{str(source)!r} does not name its network. Pass the name: --model resnet50, or another that "
            "`keras-resnet summary` lists"
        )
    chosen = {**(as_choices(info.get("network", {})) if model is None else {}), **choices}
    return find(name, chosen.get("unit")), chosen


def _with_metadata(
    pretrained: Pretrained,
    class_labels: str | Sequence[str] | None,
    mean: Sequence[float] | None,
    deviation: Sequence[float] | None,
) -> Pretrained:
    """Returns the weights with the class names, mean and deviation that the user gave."""
    if isinstance(class_labels, str):
        try:
            pretrained = replace(pretrained, **labels(class_labels))
        except DataError as error:
            raise ValueError(f"No such labels: {error}") from error
    elif class_labels is not None:
        pretrained = replace(pretrained, class_names=tuple(class_labels), class_ids=None)
    if pretrained.classes:
        _check_labels(pretrained, pretrained.classes)
    if mean is not None:
        pretrained = pretrained.with_mean(raw_statistic("mean", mean))
    if deviation is not None:
        pretrained = replace(pretrained, deviation=raw_statistic("deviation", deviation))
    if pretrained.deviation is not None and pretrained.mean is None:
        raise ValueError("A deviation needs a mean. Pass --mean too.")
    return pretrained


def _check_labels(pretrained: Pretrained, classes: int) -> None:
    if (names := pretrained.class_names) and len(names) != classes:
        raise ValueError(f"{pretrained.source} has {classes} classes. Received: {len(names)} labels")


def _build(architecture: Architecture, pretrained: Pretrained, chosen: Mapping[str, Any]) -> Any:
    return architecture(
        weights=pretrained,
        input_shape=_input_shape(pretrained),
        classes=pretrained.classes or architecture.classes,
        data_format="channels_last",
        **chosen,
    )


def _input_shape(pretrained: Pretrained) -> tuple[int | None, ...] | None:
    """Returns any size for photographs, else that of the images of the model that is converted, or None if unknown."""
    if pretrained.view:
        return pretrained.image_shape(None)
    return pretrained.sides and (*pretrained.sides, pretrained.image_shape(None)[-1])


def _file_info(pretrained: Pretrained) -> dict[str, Any]:
    """Returns what a model file records about its images and classes."""
    info = {
        "input": "images normalised as the weights' author did" if pretrained.mean is None else "raw images, 0 to 255",
        "normalization": _normalization(pretrained),
        "view": dict(pretrained.view),
        "class_names": pretrained.class_names and list(pretrained.class_names),
        "class_ids": pretrained.class_ids and list(pretrained.class_ids),
    }
    return {name: value for name, value in info.items() if value}


def _normalization(pretrained: Pretrained) -> dict[str, Any] | None:
    if pretrained.mean is None:
        return None
    if pretrained.mean.ndim == 3:
        return {"mean": "by pixel"}
    statistics = {"mean": pretrained.mean, "deviation": pretrained.deviation}
    return {name: np.round(value, 4).tolist() for name, value in statistics.items() if value is not None}


def _for_torch(tensors: Mapping[str, np.ndarray], spec: Spec, name: str, library: str) -> dict[str, np.ndarray]:
    """Returns a state dict for a library's network of this spec.

    Raises:
        ValueError: the library does not have such a network.
    """
    naming = torch_names.TIMM_V2 if spec.order == V2["order"] else torch_names.TORCHVISION
    layout = torch_names.layout(spec, naming)
    theirs = {field: layout[field] for field in ("stem", "stride_on") if field in layout}
    ignored = {field: getattr(spec, field) for field in IRRELEVANT} | {"stride_on": "3x3"} | theirs
    networks = [getattr(imagenet, network).spec for network in _AVAILABLE[library]]
    available = [replace(network, **ignored) for network in networks if network.order == spec.order]
    if replace(spec, **ignored) not in available:
        raise ValueError(f"{library} has no network like this {name}. It has {', '.join(_AVAILABLE[library])}.")
    for field, value in theirs.items():
        if getattr(spec, field) != value:
            raise ValueError(
                f"This {name} has `{field}={getattr(spec, field)!r}`, {library}'s `{field}={value!r}`, so that "
                f"{library}'s would compute different outputs with these weights."
            )
    if library == "torchvision" and (channels := tensors["stem_conv/kernel"].shape[2]) != 3:
        raise ValueError(f"torchvision's networks take images of 3 channels. Received: a {name} for {channels}")
    tensors = {
        key: value + np.float32(spec.bn_epsilon - torch_names.EPSILON) if key.endswith("moving_variance") else value
        for key, value in tensors.items()
    }
    return torch_names.to_state(tensors, naming)
