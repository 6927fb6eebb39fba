"""How strongly layers respond: figure 7 of He et al. 2015."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from tqdm import tqdm

from ..drawing import legend, literal, plain, save
from ..models.graph import last_outputs


def responses(
    model: keras.Model, batches: Iterable[tuple[np.ndarray, ...]], *, verbose: int = 0
) -> list[dict[str, Any]]:
    """The standard deviation of each layer's output, behind batch norm and before the nonlinearity or the addition.

    He et al. 2015, section 4.2 and figure 7: residual functions are generally closer to zero than the functions of
    plain networks, and the deeper a residual network, the less a single layer changes the signal.

    Args:
        model: a model of this package; takes raw images.
        batches: images (n, height, width, channels) of 0 to 255 first in each; a third member, weights (n,), leaves out
            those of weight 0.

    Returns:
        A dict a layer, in order: "layer" (its batch norm), "mean" and "deviation", over all images, positions and
        channels. Projections on shortcuts are left out, as in the paper.

    Raises:
        ValueError: a model of someone else's, one without batch norm behind its convolutions, or no images.
    """
    outputs = last_outputs(model, _layer)
    if not outputs:
        raise ValueError(f"{model.name!r} has no batch norm behind its convolutions, where responses are measured.")
    observed = keras.Model(model.input, outputs)
    sums = {name: np.zeros(3) for name in outputs}  # how many numbers, their sum, the sum of their squares
    for images, *others in tqdm(batches, "Batches", leave=False, disable=not verbose):
        whole = others[1] > 0 if len(others) > 1 else slice(None)
        for name, values in observed.predict_on_batch(images).items():
            values = np.asarray(values, "float32")[whole]
            sums[name] += values.size, values.sum(dtype="float64"), np.square(values, dtype="float64").sum()
    if not next(iter(sums.values()))[0]:
        raise ValueError("There are no images to see responses to.")
    found = []
    for name, (count, total, squares) in sums.items():
        mean = total / count
        deviation = np.sqrt(max(0.0, squares / count - mean**2))
        found.append({"layer": name, "mean": round(float(mean), 5), "deviation": round(float(deviation), 5)})
    return found


def _layer(name: str) -> str | None:
    """A batch norm's own name; None for other layers, and for the batch norm of a projection."""
    return name if re.fullmatch(r"(stem|head|stage\d+_unit\d+)_bn\d*", name) else None


def summary_line(layers: list[dict[str, Any]]) -> str:
    """What was found, in a line."""
    mean = sum(layer["deviation"] for layer in layers) / len(layers)
    return f"{len(layers)} layers, standard deviation {mean:.3f} on the average"


def draw(networks: Mapping[str, list[dict[str, Any]]], path: Path, title: str) -> None:
    """Draws standard deviations of responses as figure 7 of He et al. 2015 does: by layer, and sorted.

    Args:
        networks: by name, what `responses` returns.
        path: the PNG file to write.
        title: what stands above the picture.
    """
    figure = Figure(figsize=(9.6, 6.4), dpi=150, layout="constrained")
    upper, lower = figure.subplots(2, 1)
    for name, layers in networks.items():
        deviations = [layer["deviation"] for layer in layers]
        marker = "." if len(deviations) < 60 else None
        for axes, values in ((upper, deviations), (lower, sorted(deviations, reverse=True))):
            axes.plot(range(1, len(values) + 1), values, linewidth=1.4, marker=marker, label=literal(name))
    upper.set_xlabel("layer, from input to output")
    lower.set_xlabel("layer, sorted by its standard deviation")
    for axes in (upper, lower):
        plain(axes).set_ylabel("standard deviation")
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(upper)
    save(figure, path, title)
