"""Convolutions in 8-bit whole numbers, by NNCF for OpenVINO."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from ..analysis.inputs import batches_for, counted
from ..data import DataError, load
from ..evaluation.source import Source
from ..evaluation.views import shapes
from ..training.metrics import percent_error
from .choices import FORMATS, Choices
from .formats import frozen, need, openvino_model, quiet

CALIBRATED = 300  # images, at most
PRECISE = {"INFERENCE_PRECISION_HINT": "f32"}  # which a CPU with bfloat16 would give up


def write_int8(
    exported: keras.Model,
    folder: Path,
    original: keras.Model,
    info: Mapping[str, Any],
    choices: Choices,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Writes a model in OpenVINO's format, quantised after training: weights and activations by their ranges.

    Args:
        exported: the model that is written, batch norm folded.
        folder: where it is written.
        original: the network that it was made of.
        info: what is known of the network.
        choices: `int8`, whose images decide the ranges of activations, as `predict` takes them; and what is measured.
        say: is told of what takes long when it begins, in a line.

    Returns:
        "images", how many decided; and if it was measured "errors" in percent, by "float32" and "int8".

    Raises:
        ValueError: NNCF is not installed, no image decodes, or images or classes that the network does not know.
    """
    for package in ("openvino", "nncf"):
        need(package, "8-bit numbers need")
    import nncf
    import openvino

    batches = None
    if choices.measure:  # before the work, since what does not fit is refused
        data = load(choices.measure, choices.data_dir)
        batches = batches_for(original, info, data, data.test_count)
    source = Source(choices.int8, shapes(original)[0], info.get("view"))
    decoded = (image for _, image in source if not isinstance(image, DataError))
    seen = [image[None].astype("float32") for image in itertools.islice(decoded, CALIBRATED)]
    if not seen:
        raise ValueError(f"{choices.int8!r} holds no image that decodes.")
    say(f"Finding the ranges of 8-bit numbers on {len(seen)} images.")
    with quiet():
        whole = openvino_model(frozen(exported))
        small = nncf.quantize(whole, nncf.Dataset(seen), subset_size=len(seen))
        openvino.save_model(small, str(folder / FORMATS["openvino"].file), compress_to_fp16=False)
    if batches is not None:
        say(f"Measuring both on {choices.measure}.")
    errors = {} if batches is None else {"errors": _errors({"float32": whole, "int8": small}, batches)}
    return {"images": len(seen), **errors}


def _errors(
    models: Mapping[str, Any], batches: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> dict[str, float]:
    """The error of models of OpenVINO on images, labels and weights, in percent, by name."""
    import openvino

    core = openvino.Core()
    compiled = {name: core.compile_model(one, "CPU", PRECISE) for name, one in models.items()}
    right: dict[str, list[np.ndarray]] = {name: [] for name in models}
    for images, labels in tqdm(counted(batches), "Measuring", leave=False, disable=None):
        for name, one in compiled.items():
            right[name].append(one(images)["probabilities"].argmax(axis=1) == labels)
    return {name: percent_error(np.concatenate(hits).mean()) for name, hits in right.items()}
