"""Weights on the Hugging Face hub, as timm publishes them: "hf://timm/resnet18.a1_in1k", optionally "@revision"."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import first_line
from .pretrained import raw_statistic

SCHEME = "hf://"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
CONFIG = "config.json"
# Arguments of timm's networks that change what they compute and not their tensors, with the values that are usual.
_ARGUMENTS = {"output_stride": 32, "act_layer": "relu", "aa_layer": None, "avg_down": False, "stem_type": ""}


def download(address: str) -> tuple[Path, Any]:
    """Downloads a repository's weights, or takes them from the local cache of the hub.

    Args:
        address: "hf://OWNER/NAME" or "hf://OWNER/NAME@REVISION".

    Returns:
        The path of the weights, and the content of the repository's config; empty if it has none.

    Raises:
        ValueError: the address is malformed, or the repository cannot be downloaded or holds no weights.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    name, _, revision = address.removeprefix(SCHEME).partition("@")
    if name.count("/") != 1:
        raise ValueError(
            f"An address on the hub has the form {SCHEME}OWNER/NAME or {SCHEME}OWNER/NAME@REVISION. Received: {address}"
        )

    def fetch(*files: str) -> Path | None:
        for file in files:
            try:
                return Path(hf_hub_download(name, file, revision=revision or None))
            except LocalEntryNotFoundError:  # the hub is out of reach, so whether the file exists is unknown
                raise
            except EntryNotFoundError:
                continue
        return None

    try:
        config, weights = fetch(CONFIG), fetch(*WEIGHTS)
    except Exception as error:  # the hub's library and the network raise many kinds
        raise ValueError(f"{address} cannot be downloaded: {first_line(error)}") from error
    if weights is None:
        raise ValueError(f"{address} has no {' and no '.join(WEIGHTS)}.")
    return weights, {} if config is None else read_config(config)


def read_config(path: Path) -> Any:
    """Returns the content of a config.json, which timm and others write beside their weights.

    Raises:
        ValueError: the file is not valid JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{str(path)!r} is not valid JSON: {error}") from error


def metadata(config: Any, source: str) -> dict[str, Any]:
    """Returns what a config of timm says about its weights, as fields of `Pretrained`.

    Other programs write files of this name too: entries that do not have timm's form are ignored.

    Args:
        config: the content of the file, as parsed from JSON.
        source: the name, for messages, of the weights beside it.

    Raises:
        ValueError: the mean or the deviation is not one for images from 0 to 1, as timm's are; or the weights are
            another network's, although they have the names and shapes of a ResNet's.
    """
    config = config if isinstance(config, Mapping) else {}
    _check_architecture(config.get("architecture"), source)
    _check_arguments(config.get("model_args"), source)
    settings = config.get("pretrained_cfg", config)
    settings = settings if isinstance(settings, Mapping) else {}
    result: dict[str, Any] = {}
    if settings.get("mean") is not None and settings.get("std") is not None:
        for name, key in (("mean", "mean"), ("deviation", "std")):
            result[name] = raw_statistic(name, settings[key], f"the {CONFIG} beside {source} (`{key}`)")
    if "max" in str(config.get("global_pool")):  # such as "avgmax"
        result["other_head"] = f"pools its last feature map by {config['global_pool']!r}"
    if size := _side(settings.get("input_size")):
        result["view"] = {"size": size, "resize": math.floor(size / _share(settings.get("crop_pct")))}
    names = settings.get("label_names") or config.get("label_names")
    if names and isinstance(names, list) and all(isinstance(name, str) for name in names):
        descriptions = settings.get("label_descriptions") or config.get("label_descriptions")
        descriptions = descriptions if isinstance(descriptions, Mapping) else {}
        result["class_ids"] = tuple(names)
        result["class_names"] = tuple(str(descriptions.get(name, name)) for name in names)
    return result


def _check_architecture(name: Any, source: str) -> None:
    """Refuses timm's networks that have the tensors of a ResNet but filter their feature maps, such as resnetblur50."""
    if isinstance(name, str) and name.startswith(("resnetaa", "resnetblur")):
        raise ValueError(
            f"{source} is timm's {name!r}, which averages its feature maps before it subsamples them: no network of "
            "keras_resnet does, although the tensors would fit."
        )


def _check_arguments(arguments: Any, source: str) -> None:
    """Refuses timm's networks that were made with arguments such as `output_stride=8`."""
    for name, usual in _ARGUMENTS.items():
        value = arguments.get(name) if isinstance(arguments, Mapping) else None
        if value not in (None, usual):
            raise ValueError(
                f"{source} is of a network of timm with `{name}={value!r}`: no network of keras_resnet computes the "
                "same, although the tensors would fit."
            )


def _side(size: Any) -> int | None:
    """Returns the side of the images in pixels from timm's [channels, height, width]; None for anything else."""
    valid = isinstance(size, list) and len(size) == 3 and all(type(number) is int and number > 0 for number in size)
    return size[-1] if valid else None


def _share(crop: Any) -> float:
    """Returns the side of the crop divided by the image's shorter side, with timm's default for an invalid value."""
    return crop if isinstance(crop, int | float) and 0 < crop <= 1 else 0.875
