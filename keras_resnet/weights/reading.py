"""What the `weights` argument of every builder takes, read."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from .. import saving
from ..data.labels import class_ids, class_names
from ..models.spec import Spec, as_choices
from ..saving import first_line
from . import hub, keras_applications, keras_layout, published, torch_files, torch_names
from .pretrained import Pretrained, tensors_of
from .weights_files import NORMALISATION, read_layers

IMAGENET = "imagenet"
# What the networks that PyTorch's world trains on photographs are given: ImageNet's mean and deviation.
_TORCH_INPUT = {"mean": 255 * np.array([0.485, 0.456, 0.406]), "deviation": 255 * np.array([0.229, 0.224, 0.225])}
_PHOTOGRAPHS = {"view": {"size": 224, "resize": 256}}
_LABELS = {("imagenet", 1000): "imagenet", ("cifar", 10): "cifar10", ("cifar", 100): "cifar100"}


def check(weights: str | Path | Pretrained) -> None:
    """Refuses what cannot be weights, before any work.

    Raises:
        ValueError: neither "imagenet" nor an address on the hub nor a file or a finished run that is there.
    """
    if isinstance(weights, Pretrained) or weights == IMAGENET:
        return
    if not str(weights).startswith(hub.SCHEME) and not saving.model_file(weights).is_file():
        raise ValueError(
            "`weights` must be None (random initialisation), 'imagenet', 'hf://OWNER/NAME', or the path of a weights "
            f"file that exists or of a finished run. Received: weights={str(weights)!r}"
        )


def read(
    weights: str | Path | Pretrained,
    spec: Spec,
    chosen: Mapping[str, Any] | None = None,
    *,
    name: str = "",
    top: bool = True,
) -> Pretrained:
    """Reads weights for a network.

    Args:
        weights: "imagenet"; an address on the Hugging Face hub, "hf://timm/resnet18.a1_in1k"; or a file: `.keras`,
            `.h5` of weights or of a model, `.safetensors`, or one of torch's (`.pth`, `.pt`, `.th`, `.bin`), of which
            nothing but tensors is read; or the folder of a run; or what this function has returned.
        spec: the network.
        chosen: what its user chose of it; what they did not, the layout of the weights may change. None: all of it.
        name: what messages call it.
        top: whether the weights of the dense layer are wanted.

    Raises:
        ValueError: no weights are published for this network, or the file or the repository is no such thing.
    """
    check(weights)
    if isinstance(weights, Pretrained):
        return weights
    chosen = vars(spec) if chosen is None else chosen
    if weights == IMAGENET:
        return _published(spec, chosen, name, top)
    if str(weights).startswith(hub.SCHEME):
        path, config = hub.download(str(weights))
        return _from_torch(path, spec, str(weights), config)
    path = saving.model_file(weights)
    if path.suffix in torch_files.ENDINGS:
        beside = path.with_name(hub.CONFIG)
        return _from_torch(path, spec, repr(str(path)), hub.read_config(beside) if beside.is_file() else {})
    if path.suffix == ".keras":
        return _from_keras(path, spec)
    layers = read_layers(path)
    if keras_applications.is_one(layers):
        return _of_photographs(keras_applications.taken_over(repr(str(path)), _by_name(layers), spec))
    if spec.unit == "bottleneck" and "stride_on" not in chosen:
        warnings.warn(
            f"{str(path)!r} does not say where its network strides; {spec.stride_on!r} is taken for it. "
            "Say `stride_on='1x1'`, or '3x3' as in torchvision's networks.",
            stacklevel=4,
        )
    return _from_weights_file(path, layers)


def _published(spec: Spec, chosen: Mapping[str, Any], name: str, top: bool) -> Pretrained:
    row = published.find(spec, chosen)
    if row is None:
        networks = dict.fromkeys(row.network for row in published.PUBLISHED)
        raise ValueError(
            f"No ImageNet weights are published for {name!r} as asked. They are for {', '.join(networks)} with every "
            "choice as it comes. Pass `weights=None` or a file."
        )
    if row.address:
        return read(row.address, spec)
    source = _of_keras_applications(row.network, include_top=top)
    return keras_applications.carried_over(source, spec, **_PHOTOGRAPHS, **labels(IMAGENET))


def _of_keras_applications(network: str, *, include_top: bool) -> keras.Model:
    try:
        return getattr(keras.applications, network)(include_top=include_top, weights=IMAGENET)
    except Exception as error:  # Keras raises no better one where its download fails
        raise ValueError(f"keras.applications' weights of {network} cannot be had: {first_line(error)}") from error


def _from_torch(path: Path, spec: Spec, source: str, config: Any) -> Pretrained:
    tensors = torch_names.from_state(torch_files.read_state(path), source)
    if spec.shortcut == "A":
        with contextlib.suppress(KeyError, IndexError):  # another network's: `give_to` says what does not fit
            tensors = torch_names.append_zeros(tensors, spec)
    layout = torch_names.layout(spec)
    first = tensors.get("stem_conv/kernel")
    usual_input = _TORCH_INPUT if first is None or first.shape[2] == 3 else {}
    known = {**usual_input, **(_PHOTOGRAPHS if spec.stem == "imagenet" else {}), **hub.described(config, source)}
    found = Pretrained(source, tensors, layout, named_there=torch_names.name_there, **known)
    usual = _LABELS.get((spec.stem, found.classes))
    return replace(found, **labels(usual)) if usual and not found.class_names else found


def _from_keras(path: Path, spec: Spec) -> Pretrained:
    model, info = saving.load(path)
    if keras_applications.is_one(layer.name for layer in keras_applications.layers_of(model)):
        found = keras_applications.carried_over(model, spec, repr(str(path)))
        return _of_photographs(found, model.input_shape[1:3])
    # A trained model begins with its normalisation, which is no part of the network.
    own = next((layer for layer in model.layers if isinstance(layer, keras.layers.Normalization)), None)
    mean, deviation = (None, None) if own is None else _normalisation(own)
    names, ids = info.get("class_names"), info.get("class_ids")
    return Pretrained(
        repr(str(path)),
        tensors_of(model),
        layout=as_choices(info["network"]) if "network" in info else keras_layout.layout(model),
        mean=mean,
        deviation=deviation,
        view=info.get("view", {}),
        class_names=names and tuple(names),
        class_ids=ids and tuple(ids),
    )


def _of_photographs(found: Pretrained, shape: tuple[int | None, ...] = ()) -> Pretrained:
    """A network of keras.applications with ImageNet's classes and view; with other classes, the view is whole images.

    Args:
        found: the network.
        shape: (height, width) of the images it was built for; where that is not known, 224 is taken, Keras's default.
    """
    if found.classes == len(class_names(IMAGENET)):
        return replace(found, **_PHOTOGRAPHS, **labels(IMAGENET))
    sides = {side or 224 for side in shape or (None,)}
    return replace(found, view={"size": side, "resize": side}) if len(sides) == 1 and (side := sides.pop()) else found


def _from_weights_file(path: Path, layers: Mapping[str, Mapping[str, np.ndarray]]) -> Pretrained:
    first = next((layer for layer, values in layers.items() if NORMALISATION in values), None)
    tensors = _by_name({layer: values for layer, values in layers.items() if layer != first})
    known = {} if first is None else dict(zip(("mean", "deviation"), _statistics(layers[first]), strict=True))
    return Pretrained(repr(str(path)), tensors, **known)


def _by_name(layers: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {f"{layer}/{name}": value for layer, values in layers.items() for name, value in values.items()}


def _normalisation(layer: keras.layers.Normalization) -> tuple[np.ndarray, np.ndarray]:
    return _statistics({name: keras.ops.convert_to_numpy(getattr(layer, name))[0] for name in ("mean", "variance")})


def _statistics(values: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation, of a value a channel or a pixel."""
    mean, variance = values["mean"], values["variance"]
    if mean.size in mean.shape:  # one value a channel, whichever axis that is
        mean, variance = mean.ravel(), variance.ravel()
    return mean, np.sqrt(variance)


def labels(name: str) -> dict[str, tuple[str, ...] | None]:
    """A data set's classes, as fields of `Pretrained`."""
    return {"class_names": class_names(name), "class_ids": class_ids(name)}
