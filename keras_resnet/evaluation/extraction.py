"""Features of images, to a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from .. import saving
from ..data import DataError
from ..models.taps import features
from ..models.taps import taps as taps_of
from .feature_files import WRITERS
from .source import Source, batches
from .views import image_shape


def extract(
    model: keras.Model,
    source: str | Path,
    out: str | Path,
    taps: Sequence[str] | None = None,
    view: dict[str, int] | None = None,
    *,
    verbose: int = 0,
) -> dict[str, Any]:
    """Writes what a network makes of images, a vector an image and tap.

    Vectors are written as they are computed, so that no more than some hundred megabytes of them are held in memory.

    Args:
        model: a model of this package; takes raw images of 0 to 255.
        source: an image, a folder or a `.npy` file, as `predict` takes it.
        out: the file to write, whole or not at all: `.npy`, float32 (n, channels) of one tap, a row an image in order;
            `.npz`, such an array by the name of each tap, and the images' names as "image"; `.parquet`, a row an image
            with its name and a column a tap.
        taps: which of `keras_resnet.taps`; a map, such as "stage2", is averaged over its positions. None for "pooled",
            or, in a network without a top, for "features", of which that is the average.
        view: as `predict` takes it.
        verbose: 1 for a progress bar.

    Returns:
        "out", "images" (how many there are features of), "features" (the length of each tap's vector) and "errors",
        a line for each file of a folder that does not decode, which is passed over.

    Raises:
        ValueError: a source that is not there, a tap that the network does not have, another ending, several taps for
            one array.
        OSError: a file that cannot be written, which is found before the first image.
    """
    out = Path(out)
    if out.suffix not in WRITERS:
        raise ValueError(f"Features go to a file that ends in {', '.join(WRITERS)}. Received: {str(out)!r}")
    taps = _default(model) if taps is None else taps
    if out.suffix == ".npy" and len(taps) != 1:
        raise ValueError(f"A .npy file holds one tap; .npz and .parquet hold several. Received: {', '.join(taps)}")
    network = features(model, taps)
    images = Source(source, image_shape(model), view)

    def vectors(batch: np.ndarray) -> list[dict[str, np.ndarray]]:
        found = {name: np.asarray(value, "float32") for name, value in network.predict_on_batch(batch).items()}
        found = {name: value.mean(axis=(1, 2)) if value.ndim == 4 else value for name, value in found.items()}
        return [{name: value[row] for name, value in found.items()} for row in range(len(batch))]

    lengths, errors = {name: network.output[name].shape[-1] for name in taps}, []

    def write(path: Path) -> None:
        bar = tqdm(images, "Extracting", len(images), leave=False, disable=not verbose)
        with WRITERS[out.suffix](path, lengths) as file:
            for name, image, row in batches(images, vectors, bar):
                if isinstance(image, DataError):
                    errors.append(str(image))
                else:
                    file.append(name, row)
            if len(errors) == len(images):
                raise ValueError(f"{str(source)!r} holds no image that decodes; the first error is: {errors[0]}")

    saving.write_atomically(out, write)
    return {"out": str(out), "images": len(images) - len(errors), "features": lengths, "errors": errors}


def _default(model: keras.Model) -> tuple[str]:
    return ("pooled",) if "pooled" in taps_of(model) else ("features",)
