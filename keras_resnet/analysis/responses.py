"""Standard deviations of layer responses (He et al. 2015, figure 7)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from ..drawing import draw_line, legend_below, plain, save, styles, whole_numbers
from ..models.graph import calls, consumers, nodes, require_package_model
from .inputs import NO_IMAGES, significant


def responses(
    model: keras.Model, batches: Iterable[tuple[np.ndarray, ...]], *, verbose: int = 0
) -> list[dict[str, Any]]:
    """Measures the standard deviation of each convolution's response, before the nonlinearity or the addition.

    A response is the output of the batch norm that directly follows a convolution. Where none does, as after the last
    convolution of a full pre-activation unit, it is the output of the convolution itself.

    He et al. 2015, section 4.2 and figure 7: residual functions are generally closer to zero than the functions of
    plain networks, and the deeper a residual network, the less a single layer changes the signal.

    Args:
        model: a model of this package that takes raw images.
        batches: batches whose first member are images (n, height, width, channels) of 0 to 255. If there is a third
            member, weights (n,), images of weight 0 are left out.

    Returns:
        A dict for each convolution, in order: "layer" (the name of its batch norm, or its own where none follows),
        "mean" and "deviation", over all images, positions and channels. Projections and gates on shortcuts are left
        out, as in the paper.

    Raises:
        ValueError: the model is not of this package, or there are no images.
    """
    outputs = _responses(model)
    observed = keras.Model(model.input, outputs)
    sums = {name: np.zeros(3) for name in outputs}  # number of values, their sum, the sum of their squares
    for images, *others in tqdm(batches, "Batches", leave=False, disable=not verbose):
        counts = others[1] > 0 if len(others) > 1 else slice(None)
        for name, values in observed.predict_on_batch(images).items():
            values = np.asarray(values, "float32")[counts]
            sums[name] += values.size, values.sum(dtype="float64"), np.square(values, dtype="float64").sum()
    if not next(iter(sums.values()))[0]:
        raise ValueError(NO_IMAGES)
    layers = []
    for name, (count, total, squares) in sums.items():
        mean = total / count
        deviation = np.sqrt(np.maximum(0.0, squares / count - mean**2))
        layers.append({"layer": name, "mean": significant(mean), "deviation": significant(deviation)})
    return layers


def _responses(model: keras.Model) -> dict[str, Any]:
    """Returns the symbolic response of each convolution outside shortcuts, by the name of the layer that outputs it."""
    require_package_model(model)
    calls_by_layer, next_nodes = calls(model), consumers(nodes(model))
    outputs = {}
    for name, (node, *_) in calls_by_layer.items():
        if re.fullmatch(r"(stem|stage\d+_unit\d+)_conv\d*", name):
            following = next_nodes.get(id(node.outputs[0]), [])
            node = next((each for each in following if re.search(r"_bn\d*$", each.operation.name)), node)
            outputs[node.operation.name] = node.outputs[0]
    return outputs


def summary_line(layers: list[dict[str, Any]]) -> str:
    """Returns the result in one line."""
    mean = sum(layer["deviation"] for layer in layers) / len(layers)
    return f"{len(layers)} layers, standard deviation {mean:.3f} on average"


def draw(networks: Mapping[str, list[dict[str, Any]]], path: Path, title: str) -> None:
    """Draws the standard deviations by layer and sorted, as in figure 7 of He et al. 2015.

    Args:
        networks: results of `responses` by network name.
        path: the PNG file to write.
        title: title of the picture.
    """
    figure = Figure(figsize=(9.6, 6.4), dpi=150, layout="constrained")
    upper, lower = figure.subplots(2, 1)
    looks = styles(networks)
    for name, layers in networks.items():
        deviations = [layer["deviation"] for layer in layers]
        for axes, values in ((upper, deviations), (lower, sorted(deviations, reverse=True))):
            draw_line(axes, range(1, len(values) + 1), values, looks[name])
    upper.set_xlabel("layer, from input to output")
    lower.set_xlabel("layer, sorted by standard deviation")
    for axes in (upper, lower):
        plain(axes).set_ylabel("standard deviation")
        axes.set_ylim(bottom=0)
        whole_numbers(axes.xaxis)
    legend_below(upper, figure)
    save(figure, path, title)
