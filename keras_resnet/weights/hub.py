"""Weights on the Hugging Face hub, as timm publishes them: "hf://timm/resnet18.a1_in1k", perhaps with "@revision"."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..saving import first_line
from .pretrained import raw_statistic

SCHEME = "hf://"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
CONFIG = "config.json"


def download(address: str) -> tuple[Path, Any]:
    """Fetches a repository's weights, or takes them from the hub's cache on this machine.

    Returns:
        The file of the weights, and what the repository's config says; empty where it has none.

    Raises:
        ValueError: an address that is none, or a repository that cannot be had.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    name, _, revision = address.removeprefix(SCHEME).partition("@")
    if name.count("/") != 1:
        raise ValueError(f"An address on the hub is {SCHEME}OWNER/NAME or {SCHEME}OWNER/NAME@REVISION. Got: {address}")

    def fetch(*files: str) -> Path | None:
        for file in files:
            try:
                return Path(hf_hub_download(name, file, revision=revision or None))
            except LocalEntryNotFoundError:  # the hub is out of reach: no word on whether the file is there
                raise
            except EntryNotFoundError:
                continue
        return None

    try:
        config, weights = fetch(CONFIG), fetch(*WEIGHTS)
    except Exception as error:  # whatever the hub's library and the network come up with
        raise ValueError(f"{address} cannot be had: {first_line(error)}") from error
    if weights is None:
        raise ValueError(f"{address} has no {' and no '.join(WEIGHTS)}.")
    return weights, {} if config is None else read_config(config)


def read_config(path: Path) -> Any:
    """What a config says, as JSON holds it; timm writes one beside its weights, and so do others.

    Raises:
        ValueError: a file that is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{str(path)!r} is no JSON: {error}") from error


def described(config: Any, source: str) -> dict[str, Any]:
    """What a config of timm says of its weights, as fields of `Pretrained`.

    Other programs call their files so too: what is not as timm has it says nothing here.

    Args:
        config: what the file holds, as JSON has it.
        source: what messages call the weights that it lies beside.

    Raises:
        ValueError: a mean or a deviation that is not of images from 0 to 1, as timm's are.
    """
    config = config if isinstance(config, Mapping) else {}
    given = config.get("pretrained_cfg", config)
    given = given if isinstance(given, Mapping) else {}
    found: dict[str, Any] = {}
    if given.get("mean") is not None and given.get("std") is not None:
        for name, key in (("mean", "mean"), ("deviation", "std")):
            found[name] = raw_statistic(name, given[key], f"the {CONFIG} beside {source} (`{key}`)")
    if size := _side(given.get("input_size")):
        found["view"] = {"size": size, "resize": math.floor(size / _share(given.get("crop_pct")))}
    names = given.get("label_names") or config.get("label_names")
    if names and isinstance(names, list) and all(isinstance(name, str) for name in names):
        descriptions = given.get("label_descriptions") or config.get("label_descriptions")
        descriptions = descriptions if isinstance(descriptions, Mapping) else {}
        found["class_ids"] = tuple(names)
        found["class_names"] = tuple(str(descriptions.get(name, name)) for name in names)
    return found


def _side(size: Any) -> int | None:
    """The side of images in pixels, of timm's [channels, height, width]; None for anything else."""
    whole = isinstance(size, list) and len(size) == 3 and all(type(number) is int and number > 0 for number in size)
    return size[-1] if whole else None


def _share(crop: Any) -> float:
    """The side of the cut divided by the shorter side of the image; timm's default for what is no such number."""
    return crop if isinstance(crop, int | float) and 0 < crop <= 1 else 0.875
