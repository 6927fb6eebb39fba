"""Correlation of the gradients of neighbouring inputs (Balduzzi et al. 2017, "The Shattered Gradients Problem").

In a plain network, the gradients of two nearly identical inputs become less correlated with depth, until they resemble
white noise. Shortcuts keep them correlated.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from .. import backend
from ..drawing import draw_line, legend_below, literal, plain, save, styles, whole_numbers
from ..models.chain import Chain, chain
from .inputs import Batches, counted

POINTS = 32  # inputs on each line
DEPTHS = 8  # units at whose outputs gradients start


def gradients(
    model: keras.Model,
    batches: Batches,
    *,
    draws: int = 2,
    seed: int = 0,
    verbose: int = 0,
) -> dict[str, Any]:
    """Measures the correlation of gradients along lines between images, by depth.

    A line runs from one image to another in equal steps. At each of its points, the gradient of a random projection of
    a unit's output is taken with respect to the input, so that the result depends on depth and not on the head. Batch
    norm uses its moving averages, as at inference.

    Args:
        model: a model of this package that takes raw images.
        batches: batches of images (n, height, width, channels), labels (n,) and weights (n,); images of weight 0 are
            left out. Consecutive pairs of images are the ends of a line; an image without a partner is left out.
        draws: random projections per line.
        seed: seed of the projections.
        verbose: 1 for a progress bar.

    Returns:
        "step", the length of a step as a fraction of the line; and "units", a dict for each of about eight units from
        the first to the last: "unit"; "number" (of units up to and including it); "correlation" (the mean cosine of
        gradients one step apart, two steps, ..., over lines, points and draws; 1 for a linear function, 0 for white
        noise); and "matrix" (the cosines between all points of the first line, for the first draw).

    Raises:
        ValueError: the model is not of this package, or there are fewer than two images.
    """
    parts = chain(model)
    images = np.concatenate([batch for batch, _ in counted(batches)])
    lines = [_line(*images[i : i + 2]) for i in range(0, len(images) - 1, 2)]
    if not lines:
        raise ValueError(f"The gradients along a line need at least two images, its ends. Received: {len(images)}")
    numbers, names = sorted({round(number) for number in np.linspace(1, len(parts.units), DEPTHS)}), list(parts.units)
    with tqdm(desc="Lines", total=len(lines) * draws * len(numbers), leave=False, disable=not verbose) as bar:
        matrices = _matrices(model, parts, numbers, lines, draws, np.random.default_rng(seed), bar)
    units = [{"unit": names[number - 1], "number": number, **_correlation(some)} for number, some in matrices.items()]
    return {"step": round(1 / (POINTS - 1), 5), "units": units}


def _matrices(
    model: keras.Model,
    parts: Chain,
    numbers: Sequence[int],
    lines: Sequence[np.ndarray],
    draws: int,
    rng: np.random.Generator,
    bar: tqdm,
) -> dict[int, list[np.ndarray]]:
    """Returns by unit number the cosine matrices of the gradients on a line, one for each line and draw."""

    def projected(points: list[Any], one_hot: Any, *directions: Any) -> Any:
        """Returns the projection of the output of the unit that `one_hot` selects; the others are multiplied by 0."""
        maps = [x for number, x in enumerate(parts.maps(points[0])) if number in numbers]  # number 0 is the stem
        return sum(
            one_hot[index] * keras.ops.sum(keras.ops.cast(x, "float32") * direction)
            for index, (x, direction) in enumerate(zip(maps, directions, strict=True))
        )

    gradient = backend.gradient(projected, model.variables)
    shapes = [tuple(x.shape) for x in parts.maps(lines[0][:1])]
    matrices: dict[int, list[np.ndarray]] = {number: [] for number in numbers}
    for line in lines:
        for _ in range(draws):
            directions = [rng.standard_normal(shapes[number]).astype("float32") for number in numbers]
            for number, one_hot in zip(numbers, np.eye(len(numbers), dtype="float32"), strict=True):
                (at_inputs,) = gradient([line], one_hot, *directions)
                matrices[number].append(_cosines(at_inputs.reshape(POINTS, -1)))
                bar.update()
    return matrices


def _correlation(matrices: Sequence[np.ndarray]) -> dict[str, Any]:
    """Returns the mean cosine by the number of steps between two points, and the first matrix."""
    means = [np.mean([np.diagonal(matrix, lag).mean() for matrix in matrices]) for lag in range(1, POINTS)]
    return {
        "correlation": [round(float(mean), 4) for mean in means],
        "matrix": np.round(matrices[0], 3).tolist(),
    }


def _line(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    share = np.linspace(0, 1, POINTS, dtype="float32")[:, None, None, None]
    return ((1 - share) * start + share * end).astype("float32")


def _cosines(vectors: np.ndarray) -> np.ndarray:
    """Returns the cosine of each vector with each; 0 for a vector of zeros."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo("float32").tiny)
    return unit @ unit.T


def summary_line(result: dict[str, Any]) -> str:
    """Returns the result in one line."""
    first, last = result["units"][0], result["units"][-1]
    return (
        f"correlation of gradients {100 * result['step']:.1f} % of a line apart: {first['correlation'][0]:.2f} after "
        f"{first['unit']}, {last['correlation'][0]:.2f} after {last['unit']}"
    )


def draw(networks: Mapping[str, dict[str, Any]], path: Path, title: str) -> None:
    """Draws the correlation by depth and by distance, and the matrices of the last unit (Balduzzi et al., figure 1).

    Args:
        networks: results of `gradients` by network name; the matrices are drawn for the first four.
        path: the PNG file to write.
        title: title of the picture.
    """
    shown = list(networks.items())[:4]
    figure = Figure(figsize=(9.6, 6.6), dpi=150, layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(3, 2.4))  # type: ignore[misc]  # hint: perhaps only one
    by_depth, by_distance = (plain(axes) for axes in upper.subplots(1, 2))
    looks = styles(networks)
    for name, result in networks.items():
        numbers = [unit["number"] for unit in result["units"]]
        one_step_apart = [unit["correlation"][0] for unit in result["units"]]
        draw_line(by_depth, numbers, one_step_apart, looks[name])
        values = [1, *result["units"][-1]["correlation"]]
        draw_line(by_distance, 100 * result["step"] * np.arange(len(values)), values, looks[name])
    by_depth.set_xlabel("units that the input has passed through")
    by_depth.set_ylabel("correlation of gradients one step apart")
    whole_numbers(by_depth.xaxis)
    by_distance.set_xlabel("distance between two inputs, as a share of the line")
    by_distance.set_ylabel("correlation of gradients after the last unit")
    by_distance.xaxis.set_major_formatter("{x:g} %")
    for axes in (by_depth, by_distance):
        axes.set_ylim(min(0, axes.get_ylim()[0]), 1.02)
    panels = lower.subplots(1, len(shown), squeeze=False)[0]
    for axes, (name, result) in zip(panels, shown, strict=True):
        image = axes.imshow(result["units"][-1]["matrix"], vmin=-1, vmax=1, cmap="RdBu_r")
        axes.set_title(literal(textwrap.fill(name, 120 // len(shown))), fontsize=8)
        axes.set_xticks([])
        axes.set_yticks([])
    lower.colorbar(image, ax=panels, shrink=0.8, label="correlation between points")
    legend_below(by_depth, figure)
    save(figure, path, title)
