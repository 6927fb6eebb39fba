"""Files of PyTorch's tensors: `.pth` and its kin, and `.safetensors`. No code that a file brings is run."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..extras import install
from ..saving import first_line, write_atomically

PICKLES = (".pth", ".pt", ".th", ".bin")
SAFE = ".safetensors"
ENDINGS = (*PICKLES, SAFE)
_WRAPPED_IN = ("state_dict", "model", "model_state_dict", "net")
_PREFIX = "module."  # of torch's DataParallel


def read_state(path: Path) -> dict[str, np.ndarray]:
    """The state dict of a file, as float32 arrays in its order.

    Raises:
        ValueError: a file that is damaged, holds something else, or is a pickle that wants to run code.
    """
    state = _read_safe(path) if path.suffix == SAFE else _read_pickle(path)
    return {name.removeprefix(_PREFIX): value for name, value in state.items()}


def _read_safe(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError, numpy

    try:
        return {name: _single(value) for name, value in numpy.load_file(path).items()}
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{str(path)!r} is no whole `.safetensors` file: {first_line(error)}") from error


def _read_pickle(path: Path) -> dict[str, np.ndarray]:
    torch = _torch(path)
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{str(path)!r} is refused: it is a pickle of more than tensors, which could run code, or it is damaged. "
            "Save its state dict alone, or take the `.safetensors` file."
        ) from error
    except Exception as error:  # whatever torch stumbles over in a damaged or foreign file
        raise ValueError(f"{str(path)!r} is no whole file of torch: {first_line(error)}") from error
    for name in _WRAPPED_IN:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
            break
    if not isinstance(found, Mapping) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise ValueError(f"{str(path)!r} holds no state dict, by name a tensor. Received: {_described(found)}")
    tensors = {name: value.detach() for name, value in found.items()}  # parameters, too
    return {name: _single(value.float() if value.is_floating_point() else value) for name, value in tensors.items()}


def _torch(path: Path) -> Any:
    try:
        import torch
    except ImportError:
        raise ValueError(
            f"{str(path)!r} is read and written by torch, which is not installed: "
            f"{install('torch')}, or take a `.safetensors` file."
        ) from None
    return torch


def _single(value: Any) -> np.ndarray:
    array = np.asarray(value)
    return array.astype("float32") if array.dtype.kind == "f" else array


def _described(found: Any) -> str:
    if isinstance(found, Mapping):
        return f"a dict of {', '.join(map(str, list(found)[:5]))}"
    return type(found).__name__


def write_state(state: Mapping[str, np.ndarray], path: Path) -> None:
    """Writes a state dict, whole or not at all, as `.safetensors` or, with torch, as `.pth`.

    Raises:
        ValueError: another ending, or torch is not installed.
    """
    if path.suffix == SAFE:
        from safetensors.numpy import save_file

        write_atomically(path, lambda temporary: save_file(dict(state), temporary, {"format": "pt"}))
    elif path.suffix in PICKLES:
        torch = _torch(path)
        tensors = {name: torch.from_numpy(value.copy()) for name, value in state.items()}
        write_atomically(path, lambda temporary: torch.save(tensors, temporary))
    else:
        raise ValueError(f"A state dict goes to a file that ends in {', '.join(ENDINGS)}. Received: {str(path)!r}")
