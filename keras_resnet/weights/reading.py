"""Reads weights from every source that the `weights` argument of the builders accepts."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import filelock
import h5py
import keras
import numpy as np

from .. import saving
from ..data.labels import class_ids, class_names
from ..files import first_line
from ..models.builder import allow_depth
from ..models.spec import Spec, as_choices
from . import hub, keras_applications, keras_layout, published, torch_files, torch_names
from .pretrained import Pretrained, other_activation, tensors_of
from .weights_files import HDF5, NORMALISATION, model_config, read_layers, unread_operations

IMAGENET = "imagenet"
# ImageNet's mean and deviation, with which PyTorch's networks for photographs are usually trained, and timm's for its
# networks of version 2.
_TORCH_INPUT = {"mean": 255 * np.array([0.485, 0.456, 0.406]), "deviation": 255 * np.array([0.229, 0.224, 0.225])}
_TIMM_V2_INPUT = {"mean": np.full(3, 127.5), "deviation": np.full(3, 127.5)}
_PHOTOGRAPHS: dict[str, Any] = {"view": {"size": 224, "resize": 256}}
_LABELS: dict[tuple[str, int | None], str] = {
    ("imagenet", 1000): "imagenet",
    ("cifar", 10): "cifar10",
    ("cifar", 100): "cifar100",
}


def check(weights: str | Path | Pretrained) -> None:
    """Checks that an argument can be weights, before anything is read.

    Raises:
        ValueError: it is neither "imagenet", an address on the hub, nor an existing file or finished run.
    """
    if not isinstance(weights, str | os.PathLike | Pretrained):
        raise ValueError(
            "`weights` must be None, 'imagenet', 'hf://OWNER/NAME' or the path of a file or run, to which a state dict "
            f"or a model has to be saved first. Received: weights of the type {type(weights).__name__}"
        )
    if isinstance(weights, Pretrained) or weights == IMAGENET:
        return
    if not str(weights).startswith(hub.SCHEME) and not saving.model_file(weights).is_file():
        raise ValueError(
            "There is no such file, nor such a folder of a finished run. Accepted otherwise: None (random "
            f"initialisation), 'imagenet' and 'hf://OWNER/NAME'. Received: weights={str(weights)!r}"
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
        weights: the source, one of:
            - "imagenet", for published weights;
            - an address on the Hugging Face hub, such as "hf://timm/resnet18.a1_in1k" or "hf://OWNER/NAME@REVISION";
            - the path of a Keras file: a `.keras` model, `.weights.h5`, or a `.h5` file of weights or of a model;
            - the path of a PyTorch file: `.safetensors`, `.pth`, `.pt`, `.th`, `.bin`, `.tar` or `.ckpt`. Only tensors
              are read from it;
            - the folder of a finished run;
            - a `Pretrained`, which is returned unchanged.
        spec: the network's choices.
        chosen: the fields of the spec that the user chose; the layout of the weights may determine the others. None if
            all were chosen.
        name: the network's name for messages.
        top: whether the weights of the dense layer are needed.

    Returns:
        The weights, with what the source says about them.

    Raises:
        ValueError: no weights are published for this network, or the source cannot be read.
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
    if path.suffix in torch_files.READABLE:
        beside = path.with_name(hub.CONFIG)
        return _from_torch(path, spec, repr(str(path)), hub.read_config(beside) if beside.is_file() else {})
    if path.suffix == ".keras":
        return _from_model(*saving.load(path), spec, repr(str(path)))
    if path.suffix not in HDF5 and not h5py.is_hdf5(path):
        endings = ", ".join((".keras", ".weights.h5", *HDF5, *torch_files.READABLE))
        raise ValueError(f"A file of weights must end in {endings}. Received: {str(path)!r}")
    layers, config = read_layers(path), model_config(path)
    if config and (model := _opened(path, config)):
        return _from_model(model, {}, spec, repr(str(path)))
    if keras_applications.is_resnet(layers):
        keras_applications.check_layers(layers, repr(str(path)))
        if operations := unread_operations(config):
            warnings.warn(
                f"{str(path)!r} computes something with {', '.join(operations)} that cannot be read. If it scales the "
                "images in another way than keras.applications' `preprocess_input`, this network is wrong.",
                stacklevel=4,
            )
        return _of_photographs(keras_applications.from_tensors(_by_name(layers), spec, repr(str(path))))
    if spec.unit == "bottleneck" and "stride_on" not in chosen:
        warnings.warn(
            f"{str(path)!r} does not record which convolution of a unit has the stride; {spec.stride_on!r} is assumed. "
            "Pass `stride_on='1x1'`, or '3x3' as in torchvision's networks.",
            stacklevel=4,
        )
    return _from_weights_file(path, layers)


def _published(spec: Spec, chosen: Mapping[str, Any], name: str, top: bool) -> Pretrained:
    row = published.find(spec, chosen)
    if row is None:
        networks = dict.fromkeys(row.network for row in published.PUBLISHED)
        raise ValueError(
            f"No ImageNet weights are published for {name!r} with these choices. They exist for {', '.join(networks)} "
            "with the default choices. Pass `weights=None` or a file."
        )
    if row.address:
        return read(row.address, spec)
    model = _keras_applications_model(row.network, include_top=top)
    return keras_applications.from_model(model, spec, **_PHOTOGRAPHS, **labels(IMAGENET))


def _keras_applications_model(network: str, *, include_top: bool) -> keras.Model:
    try:
        with _alone_in_cache():
            return getattr(keras.applications, network)(include_top=include_top, weights=IMAGENET)
    except Exception as error:  # Keras raises a bare Exception if its download fails
        raise ValueError(
            f"keras.applications' weights of {network} cannot be downloaded: {first_line(error)}"
        ) from error


@contextlib.contextmanager
def _alone_in_cache() -> Iterator[None]:
    """Lets one process at a time use Keras's cache: Keras downloads in place, and downloads half of a file again."""
    folder = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "models"
    with contextlib.ExitStack() as held:
        # Others may have filled a cache that may not be written to, or where files cannot be locked.
        with contextlib.suppress(OSError, NotImplementedError):
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(filelock.FileLock(folder / ".lock", mode=0o666))
        yield


def _from_torch(path: Path, spec: Spec, source: str, config: Any) -> Pretrained:
    state = torch_files.read_state(path)
    tensors, naming = torch_names.from_state(state, source), torch_names.naming_of(state)
    if spec.shortcut == "A":
        # If the weights are another network's, `assign_to` reports what does not fit.
        with contextlib.suppress(KeyError, IndexError):
            tensors = torch_names.append_zeros(tensors, spec)
    layout = torch_names.layout(spec, naming)
    first, images = tensors.get("stem_conv/kernel"), "cifar" if spec.stem == "cifar" else "imagenet"
    usual_input = _TIMM_V2_INPUT if naming is torch_names.TIMM_V2 else _TORCH_INPUT
    usual_input = usual_input if first is None or first.shape[2] == 3 else {}
    metadata = {**usual_input, **(_PHOTOGRAPHS if images == "imagenet" else {}), **hub.metadata(config, source)}
    name_in_source = partial(torch_names.torch_name, naming=naming)
    pretrained = Pretrained(source, tensors, layout, name_in_source=name_in_source, **metadata)
    usual_labels = _LABELS.get((images, pretrained.classes))
    return replace(pretrained, **labels(usual_labels)) if usual_labels and not pretrained.class_names else pretrained


def _opened(path: Path, config: str) -> keras.Model | None:
    """Returns the model in a `.h5` file; None if this version of Keras cannot open it, but perhaps its weights."""
    allow_depth(config.count('"class_name"'))  # at least the number of layers
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception:  # Keras raises many kinds
        return None


def _from_model(model: keras.Model, info: Mapping[str, Any], spec: Spec, source: str) -> Pretrained:
    """Returns the weights of a model and what the information in its file says about them."""
    if keras_applications.is_resnet(layer.name for layer in keras_applications.layers_of(model)):
        pretrained = keras_applications.from_model(model, spec, source)
        return _of_photographs(pretrained, model.input_shape[1:3])
    # A trained model begins with its normalisation, which does not belong to the network itself.
    normalisation = next((layer for layer in model.layers if isinstance(layer, keras.layers.Normalization)), None)
    mean, deviation = (None, None) if normalisation is None else _normalisation(normalisation)
    names, ids = info.get("class_names"), info.get("class_ids")
    return Pretrained(
        source,
        tensors_of(model),
        layout=as_choices(info["network"]) if "network" in info else keras_layout.layout(model),
        mean=mean,
        deviation=deviation,
        view=info.get("view", {}),
        sides=_sides(model),
        class_names=names and tuple(names),
        class_ids=ids and tuple(ids),
        other_head=other_activation(model),
    )


def _sides(model: keras.Model) -> tuple[int | None, int | None] | None:
    """Returns the height and width of the images that a network takes, each None for any; None if unknown."""
    inputs = getattr(model, "inputs", None)  # a `Sequential` may have none yet
    if not inputs or len(inputs[0].shape) != 4:
        return None
    layouts = [layer.data_format for layer in model.layers if hasattr(layer, "data_format")]
    return tuple(inputs[0].shape[2:] if layouts[:1] == ["channels_first"] else inputs[0].shape[1:3])


def _of_photographs(pretrained: Pretrained, shape: tuple[int | None, ...] = ()) -> Pretrained:
    """Adds ImageNet's class names and view to the weights of a keras.applications network.

    If the weights have other classes, the view is the entire image, and no class names are added.

    Args:
        pretrained: the weights.
        shape: (height, width) of the images that the network was built for. What is not known is 224, Keras's default.
    """
    if pretrained.classes == len(class_names(IMAGENET)):
        return replace(pretrained, **_PHOTOGRAPHS, **labels(IMAGENET))
    sides = {side or 224 for side in shape or (None,)}
    if len(sides) == 1 and (side := sides.pop()):
        return replace(pretrained, view={"size": side, "resize": side})
    return pretrained


def _from_weights_file(path: Path, layers: Mapping[str, Mapping[str, np.ndarray]]) -> Pretrained:
    normalisation = next((layer for layer, values in layers.items() if NORMALISATION in values), None)
    tensors = _by_name({layer: values for layer, values in layers.items() if layer != normalisation})
    mean, deviation = (None, None) if normalisation is None else _statistics(layers[normalisation])
    return Pretrained(repr(str(path)), tensors, mean=mean, deviation=deviation)


def _by_name(layers: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {f"{layer}/{name}": value for layer, values in layers.items() for name, value in values.items()}


def _normalisation(layer: keras.layers.Normalization) -> tuple[np.ndarray, np.ndarray]:
    return _statistics({name: keras.ops.convert_to_numpy(getattr(layer, name))[0] for name in ("mean", "variance")})


def _statistics(values: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean and the standard deviation, per channel or per pixel, of a normalisation's variables."""
    mean, variance = values["mean"], values["variance"]
    if mean.size in mean.shape:  # one value per channel, on any axis
        mean, variance = mean.ravel(), variance.ravel()
    return mean, np.sqrt(variance)


def labels(name: str) -> dict[str, Any]:
    """Returns the class names and ids of a data set, as fields of `Pretrained`."""
    return {"class_names": class_names(name), "class_ids": class_ids(name)}
