"""Extraction of features of images to a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from ..data import DataError
from ..files import write_atomically
from ..models.taps import features
from ..models.taps import taps as taps_of
from .feature_files import WRITERS
from .outputs import image_shape
from .source import Source, batches


def extract(
    model: keras.Model,
    source: str | Path,
    out: str | Path,
    taps: Sequence[str] | None = None,
    view: dict[str, int] | None = None,
    *,
    verbose: int = 0,
) -> dict[str, Any]:
    """Writes features of images to a file, one vector per image and tap.

    Vectors are written as they are computed, so that at most some hundred megabytes of them are held in memory.

    Args:
        model: a model of this package; takes raw images of 0 to 255.
        source: an image file, a folder or a `.npy` file, as for `predict`.
        out: the file to write; it is written completely or not at all. `.npy`: float32 (n, channels) of one tap, with
            one row per image, in order. `.npz`: one such array per tap, under its name, and the names of the images as
            "image". `.parquet`: one row per image, with its name and one column per tap.
        taps: names from `keras_resnet.taps`; a feature map, such as "stage2", is averaged over its positions. None for
            "pooled" or, in a network without a top, for "features", whose average "pooled" is.
        view: as for `predict`.
        verbose: 1 for a progress bar.

    Returns:
        "out", "images" (the number of images with features), "features" (the length of each tap's vector) and "errors"
        (one line for each file in a folder that cannot be decoded; these files are skipped).

    Raises:
        ValueError: the source does not exist, the network does not have such a tap, the file's extension is not
            supported, or several taps are to be written to one array.
        OSError: the file cannot be written; this is checked before the first image is read.
    """
    out = Path(out)
    if out.suffix not in WRITERS:
        raise ValueError(f"`out` must be a file that ends in {', '.join(WRITERS)}. Received: {str(out)!r}")
    taps = _default_taps(model) if taps is None else taps
    if out.suffix == ".npy" and len(taps) != 1:
        raise ValueError(f"A .npy file holds one tap; .npz and .parquet hold several. Received: {', '.join(taps)}")
    network = features(model, taps)
    images = Source(source, image_shape(model), view)

    def vectors(batch: np.ndarray) -> list[dict[str, np.ndarray]]:
        outputs = {name: np.asarray(value, "float32") for name, value in network.predict_on_batch(batch).items()}
        outputs = {name: value.mean(axis=(1, 2)) if value.ndim == 4 else value for name, value in outputs.items()}
        return [{name: value[row] for name, value in outputs.items()} for row in range(len(batch))]

    lengths, errors = {name: network.output[name].shape[-1] for name in taps}, []

    def write(path: Path) -> None:
        bar = tqdm(images, "Extracting", len(images), leave=False, disable=not verbose)
        with WRITERS[out.suffix](path, lengths) as file:
            for name, image, row in batches(bar, vectors):
                if isinstance(image, DataError):
                    errors.append(str(image))
                else:
                    file.append(name, row)
            if len(errors) == len(images):
                raise ValueError(f"{str(source)!r} holds no decodable image; the first error is: {errors[0]}")

    write_atomically(out, write)
    return {"out": str(out), "images": len(images) - len(errors), "features": lengths, "errors": errors}


def _default_taps(model: keras.Model) -> tuple[str]:
    return ("pooled",) if "pooled" in taps_of(model) else ("features",)
