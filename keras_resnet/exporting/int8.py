"""Post-training quantisation to 8-bit integers, with NNCF for OpenVINO."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from ..analysis.inputs import batches_for, counted
from ..data import DataError, load
from ..evaluation.outputs import shapes
from ..evaluation.source import Source
from ..training.metrics import percent_error
from .choices import FORMATS, Choices
from .formats import frozen, need, openvino_model, quiet

CALIBRATION_IMAGES = 300  # maximum
PRECISE = {"INFERENCE_PRECISION_HINT": "f32"}  # otherwise CPUs that support bfloat16 use it


def write_int8(
    exported: keras.Model,
    images: str,
    folder: Path,
    original: keras.Model,
    info: Mapping[str, Any],
    choices: Choices,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Quantises the weights and activations of a model and writes it in OpenVINO's format.

    Args:
        exported: the model to quantise, with batch norm folded.
        images: the images that calibrate the ranges of activations, as for `predict`.
        folder: the folder to write to.
        original: the network from which it was made.
        info: the description stored in the network's file.
        choices: the options of the export, with `measure` if the error is to be measured.
        say: called with a line when a step begins that takes long, and for each image that cannot be decoded.

    Returns:
        "images", the number of calibration images; and if it was measured "errors", in percent, by "float32" and
        "int8".

    Raises:
        ValueError: NNCF is not installed, no image can be decoded, or the network does not take the images or know the
            classes of `measure`.
    """
    for package in ("openvino", "nncf"):
        need(package, "Quantisation to 8-bit integers needs")
    import nncf
    import openvino

    batches = None
    if choices.measure:  # first of all, so that an unsuitable data set is reported before the work begins
        data = load(choices.measure, choices.data_dir)
        batches = batches_for(original, info, data, data.test_count)
    source = Source(images, shapes(original)[0], info.get("view"), CALIBRATION_IMAGES)
    decoded = []
    for _, image in source:
        if isinstance(image, DataError):
            say(str(image))
        else:
            decoded.append(image[None].astype("float32"))
    if not decoded:
        raise ValueError(f"{images!r} must contain an image that can be decoded. Found: none")
    say(f"Calibrating the quantisation to 8-bit integers on {len(decoded)} images.")
    with quiet():
        full = openvino_model(frozen(exported))
        quantised = nncf.quantize(full, nncf.Dataset(decoded), subset_size=len(decoded))
        openvino.save_model(quantised, str(folder / FORMATS["openvino"].file), compress_to_fp16=False)
    if batches is not None:
        say(f"Measuring the errors with and without quantisation on {choices.measure}.")
    errors = {} if batches is None else {"errors": _errors({"float32": full, "int8": quantised}, batches)}
    return {"images": len(decoded), **errors}


def _errors(
    models: Mapping[str, Any], batches: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> dict[str, float]:
    """Returns the top-1 errors of OpenVINO models in percent, by name."""
    import openvino

    core = openvino.Core()
    compiled = {name: core.compile_model(model, "CPU", PRECISE) for name, model in models.items()}
    correct: dict[str, list[np.ndarray]] = {name: [] for name in models}
    for images, labels in tqdm(counted(batches), "Measuring", leave=False, disable=None):
        for name, model in compiled.items():
            correct[name].append(model(images)["probabilities"].argmax(axis=1) == labels)
    return {name: percent_error(np.concatenate(hits).mean()) for name, hits in correct.items()}
