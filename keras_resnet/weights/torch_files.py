"""Files of PyTorch tensors: `.pth` and the like, and `.safetensors`. Code in a file is never executed."""

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
_WRAPPER_KEYS = ("state_dict", "model", "model_state_dict", "net")
_PREFIX = "module."  # of the names in torch's DataParallel


def read_state(path: Path) -> dict[str, np.ndarray]:
    """Reads the state dict of a file, with floating-point tensors as float32 arrays, in the order of the file.

    Raises:
        ValueError: if the file is damaged, holds anything but a state dict, or is a pickle that would run code.
    """
    state = _read_safe(path) if path.suffix == SAFE else _read_pickle(path)
    return {name.removeprefix(_PREFIX): value for name, value in state.items()}


def _read_safe(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError, numpy

    try:
        return {name: _single(value) for name, value in numpy.load_file(path).items()}
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{str(path)!r} is not an intact `.safetensors` file: {first_line(error)}") from error


def _read_pickle(path: Path) -> dict[str, np.ndarray]:
    torch = _torch(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{str(path)!r} is refused: it is a pickle of more than tensors, which could run code, or it is damaged. "
            "Save only its state dict, or use a `.safetensors` file."
        ) from error
    except Exception as error:  # torch raises many kinds for damaged or foreign files
        raise ValueError(f"{str(path)!r} is not an intact PyTorch file: {first_line(error)}") from error
    for name in _WRAPPER_KEYS:
        if isinstance(state, Mapping) and isinstance(state.get(name), Mapping):
            state = state[name]
            break
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(f"{str(path)!r} does not hold a state dict of tensors. Received: {_described(state)}")
    tensors = {name: value.detach() for name, value in state.items()}  # some may be parameters
    return {name: _single(value.float() if value.is_floating_point() else value) for name, value in tensors.items()}


def _torch(path: Path) -> Any:
    try:
        import torch
    except ImportError:
        raise ValueError(
            f"{str(path)!r} needs torch, which is not installed: {install('torch')}, or use a `.safetensors` file."
        ) from None
    return torch


def _single(value: Any) -> np.ndarray:
    array = np.asarray(value)
    return array.astype("float32") if array.dtype.kind == "f" else array


def _described(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"a dict of {', '.join(map(str, list(value)[:5]))}"
    return type(value).__name__


def write_state(state: Mapping[str, np.ndarray], path: Path) -> None:
    """Writes a state dict atomically, as `.safetensors` or, if torch is installed, as `.pth`.

    Raises:
        ValueError: if the file has another ending, or torch is needed and not installed.
    """
    if path.suffix == SAFE:
        from safetensors.numpy import save_file

        write_atomically(path, lambda temporary: save_file(dict(state), temporary, {"format": "pt"}))
    elif path.suffix in PICKLES:
        torch = _torch(path)
        tensors = {name: torch.from_numpy(value.copy()) for name, value in state.items()}
        write_atomically(path, lambda temporary: torch.save(tensors, temporary))
    else:
        raise ValueError(f"The file of a state dict must end in {', '.join(ENDINGS)}. Received: {str(path)!r}")
