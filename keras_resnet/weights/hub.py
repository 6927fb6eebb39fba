"""Weights on the Hugging Face hub, as timm publishes them: "hf://timm/resnet18.a1_in1k", perhaps with "@revision"."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from ..saving import first_line

SCHEME = "hf://"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
CONFIG = "config.json"


def download(address: str) -> tuple[Path, dict[str, Any]]:
    """Fetches a repository's weights, or takes them from the hub's cache on this machine.

    Returns:
        The file of the weights, and the repository's config; empty where it has none.

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


def read_config(path: Path) -> dict[str, Any]:
    """A config, as timm writes it beside its weights.

    Raises:
        ValueError: a file that is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{str(path)!r} is no JSON: {error}") from error


def described(config: dict[str, Any]) -> dict[str, Any]:
    """What a config of timm says of its weights, as fields of `Pretrained`."""
    given = config.get("pretrained_cfg", config)
    found: dict[str, Any] = {}
    if "mean" in given and "std" in given:
        found |= {name: 255 * np.asarray(given[key]) for name, key in (("mean", "mean"), ("deviation", "std"))}
    if "input_size" in given:
        size = given["input_size"][-1]
        found["view"] = {"size": size, "resize": math.floor(size / given.get("crop_pct", 0.875))}
    if names := given.get("label_names") or config.get("label_names"):
        descriptions = given.get("label_descriptions") or config.get("label_descriptions") or {}
        found["class_ids"] = tuple(names)
        found["class_names"] = tuple(descriptions.get(name, name) for name in names)
    return found
