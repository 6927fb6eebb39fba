"""How much alike the gradients of neighbouring inputs are (Balduzzi et al. 2017, "The Shattered Gradients Problem").

In a plain network the gradients of two inputs that are nearly the same have less and less in common the deeper it is,
until they are white noise. Shortcuts keep them correlated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from tqdm import tqdm

from .. import backend
from ..drawing import legend, literal, plain, save
from ..models.chain import Chain, chain
from .inputs import Batches, counted

POINTS = 32  # of each grid
DEPTHS = 8  # units whose outputs are looked at


def gradients(
    model: keras.Model,
    batches: Batches,
    *,
    draws: int = 2,
    seed: int = 0,
    verbose: int = 0,
) -> dict[str, Any]:
    """Correlations of the gradients along a line of inputs, by depth.

    The line leads from one image to another, in equal steps. At each of its points the gradient is taken of a random
    projection of a unit's output, so that depth is what is measured and the head has no part in it. Batch norm works by
    its moving averages, as at inference.

    Args:
        model: a model of this package; takes raw images.
        batches: images (n, height, width, channels), labels and weights (n,), of which 0 leaves an image out. Two and
            two of them are the ends of a line; one that has no partner is left out.
        draws: random projections a line.
        seed: of the projections.
        verbose: 1 for a progress bar.

    Returns:
        "step", the length of a step as a share of a line; and "units", a dict for about eight of them from the first to
        the last: "unit", "number" (of units up to it), "correlation" (the cosine of the gradients a step apart, two
        steps, ..., on the average over lines, points and draws; 1 for a linear function, 0 for white noise) and
        "matrix" (of the cosines of all points of the first line, by the first draw).

    Raises:
        ValueError: a model of someone else's, or fewer than two images.
    """
    parts = chain(model)
    images = np.concatenate([some for some, _ in counted(batches)])
    lines = [_line(*images[i : i + 2]) for i in range(0, len(images) - 1, 2)]
    if not lines:
        raise ValueError("A line of inputs leads from one image to another, and there are fewer than two.")
    numbers, names = sorted({round(number) for number in np.linspace(1, len(parts.units), DEPTHS)}), list(parts.units)
    with tqdm(desc="Lines", total=len(lines) * draws * len(numbers), leave=False, disable=not verbose) as bar:
        matrices = _matrices(model, parts, numbers, lines, draws, np.random.default_rng(seed), bar)
    units = [{"unit": names[number - 1], "number": number, **_correlation(found)} for number, found in matrices.items()]
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
    """The cosines of the gradients at all points of a line, a matrix a line and draw, by the number of the unit."""

    def projected(points: list[Any], chosen: Any, *directions: Any) -> Any:
        """The projection of the output of the unit that is chosen: that of all others is multiplied by zero."""
        maps = [x for number, x in enumerate(parts.maps(points[0])) if number in numbers]  # number 0 is the stem
        return sum(
            chosen[place] * keras.ops.sum(keras.ops.cast(x, "float32") * direction)
            for place, (x, direction) in enumerate(zip(maps, directions, strict=True))
        )

    gradient = backend.gradient(projected, model.variables)
    shapes = [tuple(x.shape) for x in parts.maps(lines[0][:1])]
    found: dict[int, list[np.ndarray]] = {number: [] for number in numbers}
    for line in lines:
        for _ in range(draws):
            directions = [rng.standard_normal(shapes[number]).astype("float32") for number in numbers]
            for number, chosen in zip(numbers, np.eye(len(numbers), dtype="float32"), strict=True):
                (at,) = gradient([line], chosen, *directions)
                found[number].append(_cosines(at.reshape(POINTS, -1)))
                bar.update()
    return found


def _correlation(matrices: Sequence[np.ndarray]) -> dict[str, Any]:
    """Mean cosine by the number of steps between two points, and the first matrix."""
    means = [np.mean([np.diagonal(matrix, lag).mean() for matrix in matrices]) for lag in range(1, POINTS)]
    return {
        "correlation": [round(float(mean), 4) for mean in means],
        "matrix": np.round(matrices[0], 3).tolist(),
    }


def _line(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    share = np.linspace(0, 1, POINTS, dtype="float32")[:, None, None, None]
    return ((1 - share) * one + share * other).astype("float32")


def _cosines(vectors: np.ndarray) -> np.ndarray:
    """The cosine of each with each; of a vector of zeros, 0."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo("float32").tiny)
    return unit @ unit.T


def summary_line(found: dict[str, Any]) -> str:
    """What was found, in a line."""
    first, last = found["units"][0], found["units"][-1]
    return (
        f"gradients {100 * found['step']:.1f} % of a line apart correlate by {first['correlation'][0]:.2f} behind "
        f"{first['unit']} and by {last['correlation'][0]:.2f} behind {last['unit']}"
    )


def draw(networks: Mapping[str, dict[str, Any]], path: Path, title: str) -> None:
    """Draws the correlation by depth and by distance, and its matrices at the last unit, as figure 1 of Balduzzi et al.

    Args:
        networks: by name, what `gradients` returns.
        path: the PNG file to write.
        title: what stands above the picture.
    """
    shown = list(networks.items())[:4]
    figure = Figure(figsize=(9.6, 6.6), dpi=150, layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(3, 2.4))
    by_depth, by_distance = (plain(axes) for axes in upper.subplots(1, 2))
    for name, found in networks.items():
        numbers = [unit["number"] for unit in found["units"]]
        near = [unit["correlation"][0] for unit in found["units"]]
        by_depth.plot(numbers, near, "o-", markersize=3, linewidth=1.4, label=literal(name))
        values = [1, *found["units"][-1]["correlation"]]
        by_distance.plot(100 * found["step"] * np.arange(len(values)), values, linewidth=1.4)
    by_depth.set_xlabel("units that the input goes through")
    by_depth.set_ylabel("correlation of gradients one step apart")
    by_depth.xaxis.set_major_locator(MaxNLocator(integer=True))
    by_distance.set_xlabel("distance of two inputs behind the last unit")
    by_distance.set_ylabel("correlation of their gradients")
    by_distance.xaxis.set_major_formatter("{x:g} %")
    for axes in (by_depth, by_distance):
        axes.set_ylim(min(0, axes.get_ylim()[0]), 1.02)
    panels = lower.subplots(1, len(shown), squeeze=False)[0]
    for axes, (name, found) in zip(panels, shown, strict=True):
        image = axes.imshow(found["units"][-1]["matrix"], vmin=-1, vmax=1, cmap="RdBu_r")
        axes.set_title(literal(name), fontsize=8)
        axes.set_xticks([])
        axes.set_yticks([])
    lower.colorbar(image, ax=panels, shrink=0.8, label="correlation of all points of a line")
    legend(by_depth)
    save(figure, path, title)
