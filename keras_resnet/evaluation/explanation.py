"""Explanation of predictions by class activation maps."""

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
    """Returns maps of the image regions that support a class (Grad-CAM, Selvaraju et al. 2017, section 3).

    Grad-CAM weights the channels of the last feature map by the mean gradient of the class's logit. If average pooling
    and one dense layer follow, these weights are the class's column of the dense layer, up to a constant factor (their
    section 3.1; CAM, Zhou et al. 2016). The result is therefore the positive part of the logit at every position,
    without its bias. No gradients are computed, and all backends give the same result.

    Args:
        model: a model of this package with a top.
        images: raw images of 0 to 255, (n, height, width, channels), or the data format of the model.
        classes: one class index per image; None for the most probable class.

    Returns:
        float32 (n, h, w), non-negative and of the size of the last feature map: 7x7 for 224x224.

    Raises:
        ValueError: the model has no top or is not of this package, or a class is out of range.
    """
    return heat(model, dense_logits(model), images, classes)


def heat(model: keras.Model, dense: keras.Model, images: Any, classes: Sequence[int] | None) -> np.ndarray:
    """Computes `grad_cam` with `dense`, the result of `dense_logits(model)`, which can be reused for many batches."""
    logits = np.asarray(dense.predict_on_batch(keras.ops.convert_to_numpy(images)), dtype="float32")
    if model.get_layer("avg_pool").data_format == "channels_first":
        logits = np.moveaxis(logits, 1, -1)
    indices = logits.mean(axis=(1, 2)).argmax(axis=-1) if classes is None else np.asarray(classes)
    integral = indices.dtype.kind in "iu" and indices.shape == (len(logits),)
    if not integral or not ((indices >= 0) & (indices < logits.shape[-1])).all():
        raise ValueError(
            f"`classes` must be one index below {logits.shape[-1]} for each of {len(logits)} images. "
            f"Received: {indices.tolist()}"
        )
    bias = keras.ops.convert_to_numpy(model.get_layer("logits").bias)
    class_maps = logits[np.arange(len(logits)), :, :, indices] - bias[indices][:, None, None]
    return np.maximum(class_maps, 0)


def draw_explanation(image: np.ndarray, heat: np.ndarray, path: Path, *, title: str) -> None:
    """Draws an image beside the same image overlaid with its class activation map.

    Args:
        image: uint8 (height, width, channels).
        heat: (h, w), its map as returned by `grad_cam`.
        path: the PNG file to write.
        title: the title of the picture.
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
