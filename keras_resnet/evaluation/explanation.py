"""Where in an image a network sees what it says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure

from ..drawing import save
from ..models.taps import dense_logits


def grad_cam(model: keras.Model, images: Any, classes: Sequence[int] | None = None) -> np.ndarray:
    """The parts of images that speak for a class (Grad-CAM, Selvaraju et al. 2017, section 3).

    Grad-CAM weights the channels of the last map by the mean gradient of the class's logit. Behind average pooling and
    one dense layer, that is the class's column of the dense layer, but for a factor (their section 3.1; CAM, Zhou et
    al. 2016): so the map is the logit at every position, without its bias, where it is positive. No gradient is taken,
    and all backends agree.

    Args:
        model: a model of this package with a top.
        images: (n, height, width, channels), raw, of 0 to 255.
        classes: of which class, an image each; None for the most probable.

    Returns:
        float32 (n, h, w), of the size of the last map: 7x7 for 224x224. Not negative.

    Raises:
        ValueError: a model without a top, or none of this package; classes that it does not have.
    """
    return heat(model, dense_logits(model), images, classes)


def heat(model: keras.Model, dense: keras.Model, images: Any, classes: Sequence[int] | None) -> np.ndarray:
    """What `grad_cam` returns, for many batches: `dense` is what `dense_logits` makes of the model."""
    logits = np.asarray(dense.predict_on_batch(keras.ops.convert_to_numpy(images)), dtype="float32")
    if model.get_layer("avg_pool").data_format == "channels_first":
        logits = np.moveaxis(logits, 1, -1)
    if classes is None:
        classes = logits.mean(axis=(1, 2)).argmax(axis=-1)
    classes = np.asarray(classes)
    if classes.shape != (len(logits),) or not ((classes >= 0) & (classes < logits.shape[-1])).all():
        raise ValueError(
            f"`classes` must be a class below {logits.shape[-1]} for each of {len(logits)} images. "
            f"Received: {classes.tolist()}"
        )
    bias = keras.ops.convert_to_numpy(model.get_layer("logits").bias)
    own = logits[np.arange(len(logits)), :, :, classes] - bias[classes][:, None, None]
    return np.maximum(own, 0)


def draw_explanation(image: np.ndarray, heat: np.ndarray, path: Path, *, title: str) -> None:
    """Draws an image beside itself under its map.

    Args:
        image: uint8 (height, width, channels).
        heat: (h, w), what `grad_cam` returns of it.
        path: the PNG file to write.
        title: what stands above the picture.
    """
    height, width = image.shape[:2]
    figure = Figure(figsize=(7, 0.45 + 3.4 * height / width), dpi=150, layout="constrained")
    for axes in (panels := figure.subplots(1, 2)):
        axes.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255)
        axes.set_axis_off()
    strength = heat / max(float(heat.max()), 1e-12)
    panels[1].imshow(
        strength,
        cmap="inferno",
        vmin=0,
        vmax=1,
        alpha=0.6,
        interpolation="bicubic",
        extent=(-0.5, width - 0.5, height - 0.5, -0.5),
    )
    save(figure, path, title)
