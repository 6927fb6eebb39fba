"""Files of PyTorch tensors: `.pth` and the like, and `.safetensors`. Code in a file is never executed."""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..extras import install
from ..files import first_line, write_atomically

PICKLES = (".pth", ".pt", ".th", ".bin")
SAFE = ".safetensors"
ENDINGS = (*PICKLES, SAFE)
READABLE = (*ENDINGS, ".tar", ".ckpt")  # checkpoints of timm (model_best.pth.tar) and of Lightning
# Keys of the state dict in a checkpoint; of timm's and torchvision's, the averaged weights first, as timm prefers them.
_WRAPPER_KEYS = ("state_dict_ema", "model_ema", "state_dict", "model", "model_state_dict", "model_state", "net")
# Prefixes of all names in a state dict: by DataParallel and AveragedModel, by torch.compile, and by Lightning.
_PREFIXES = ("module.", "_orig_mod.", "model.")
_AVERAGED = "n_averaged"  # counter of torch.optim.swa_utils.AveragedModel


def read_state(path: Path) -> dict[str, np.ndarray]:
    """Reads the state dict of a file, with floating-point tensors as float32 arrays, in the order of the file.

    Of a checkpoint with an exponential moving average of the weights, that average is read. Prefixes that all names
    share because of a wrapper around the network are removed.

    Raises:
        OSError: the file cannot be opened.
        ValueError: the file is damaged, holds anything but a state dict, or is a pickle that would run code.
    """
    path.open("rb").close()  # the libraries report a lack of permission as a damaged or missing file
    state = _read_safe(path) if path.suffix == SAFE else _read_pickle(path)
    state.pop(_AVERAGED, None)
    while prefix := next((prefix for prefix in _PREFIXES if state and all(n.startswith(prefix) for n in state)), None):
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _read_safe(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError, numpy

    try:
        return {name: _single(value) for name, value in numpy.load_file(path).items()}
    except (TypeError, KeyError, AttributeError) as error:  # float8, of which NumPy has none
        raise ValueError(
            f"{str(path)!r} holds a type of numbers that cannot be read; save it in float32, float16 or bfloat16: "
            f"{first_line(error)}"
        ) from error
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"{str(path)!r} is not an intact `.safetensors` file: {first_line(error)}") from error


def _read_pickle(path: Path) -> dict[str, np.ndarray]:
    torch = _torch(path)
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # the arguments that training programs add
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
    if not isinstance(state, Mapping):
        raise ValueError(f"{str(path)!r} does not hold a state dict of tensors. Received: {type(state).__name__}")
    if other := [
        str(name) for name, value in state.items() if not (isinstance(name, str) and isinstance(value, torch.Tensor))
    ]:
        raise ValueError(
            f"{str(path)!r} does not hold a state dict of tensors. Received: a dict with {', '.join(other[:5])}"
        )
    return {name: _dense(value, f"{str(path)!r} holds {name}") for name, value in state.items()}


def _torch(path: Path) -> Any:
    try:
        import torch
    except ImportError:
        raise ValueError(
            f"{str(path)!r} needs torch, which is not installed: {install('torch')}, or use a `.safetensors` file."
        ) from None
    return torch


def _dense(tensor: Any, what: str) -> np.ndarray:
    """Converts a torch tensor, which may be a parameter.

    Raises:
        ValueError: it is sparse, quantised or without values; the message begins with `what`.
    """
    try:
        return _single((tensor.float() if tensor.is_floating_point() else tensor).detach().numpy())
    except (TypeError, RuntimeError) as error:  # NumPy has no such tensors
        raise ValueError(f"{what}, which is not an ordinary dense tensor: {first_line(error)}") from error


def _single(value: Any) -> np.ndarray:
    array = np.asarray(value)
    return array.astype("float32") if array.dtype.kind == "f" else array


def write_state(state: Mapping[str, np.ndarray], path: Path) -> None:
    """Writes a state dict atomically, as `.safetensors` or with any other ending as a pickle.

    Raises:
        ValueError: torch is needed and not installed.
    """
    if path.suffix == SAFE:
        from safetensors.numpy import save_file

        write_atomically(path, lambda temporary: save_file(dict(state), temporary, {"format": "pt"}))
    else:
        torch = _torch(path)
        tensors = {name: torch.from_numpy(value.copy()) for name, value in state.items()}
        write_atomically(path, lambda temporary: torch.save(tensors, temporary))
