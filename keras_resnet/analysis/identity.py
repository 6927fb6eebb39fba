"""How close each unit is to the identity, and how strongly the network reacts to noise on its input.

A unit whose optimum is near the identity need only learn the difference (He et al. 2015, section 3.1). Where residuals
are small relative to what the shortcuts carry, the network is effectively shallower than it was built. The ratio of the
two norms is the one measured by Jastrzebski et al. 2018 ("Residual Connections Encourage Iterative Inference").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from ..drawing import draw_line, legend_below, plain, save, styles, whole_numbers
from ..models.chain import Branches, Chain, branches, chain
from ..models.taps import to_logits
from .inputs import Batches, counted, norms, significant, vectors

NOISE = (1.0, 2.0, 4.0, 8.0, 16.0)  # standard deviations, for images of 0 to 255


def identity(
    model: keras.Model,
    batches: Batches,
    *,
    seed: int = 0,
    verbose: int = 0,
) -> dict[str, Any]:
    """Measures how much each unit changes its input, and how noise on the image propagates.

    Args:
        model: a model of this package with a top that takes raw images of 0 to 255.
        batches: batches of images (n, height, width, channels), labels (n,) and weights (n,); images of weight 0 are
            left out.
        seed: seed of the noise.
        verbose: 1 for a progress bar.

    Returns:
        "units", a dict for each unit, all numbers means over the images: "unit"; "ratio", the norm of the residual
        divided by that of what the shortcut carries (None for a plain unit, or if the shortcut carries zeros);
        "change", the norm of output minus input divided by that of the input, and "cosine", between output and input
        (both None where the shape changes); and "gain", the relative change of the output divided by that of the
        image, for noise of standard deviation 1, over the images that are not entirely black.
        "depth_used", (sum r)^2 / sum r^2 of the ratios r: the number of units if all ratios are equal, 1 if a single
        unit does all the work (None for a plain network).
        "noise", a dict for each standard deviation: "noise", "logits" (their mean relative change) and "decisions" (the
        percentage of images whose predicted class changes).

    Raises:
        ValueError: the model has no top or is not of this package, or there are no images.
    """
    parts, split = chain(to_logits(model)), branches(model)
    by_unit: dict[str, dict[str, list[np.ndarray]]] = {name: {} for name in parts.units}
    by_noise: dict[float, list[np.ndarray]] = {noise: [] for noise in NOISE}
    rng = np.random.default_rng(seed)
    for images, _ in tqdm(counted(batches), "Batches", leave=False, disable=not verbose):
        direction = rng.standard_normal(images.shape).astype("float32")
        for name, measures in _unit_measures(parts, split, images, direction):
            for key, values in measures.items():
                by_unit[name].setdefault(key, []).append(values)
        clean = keras.ops.convert_to_numpy(parts(images))
        for noise, rows in by_noise.items():
            noisy = keras.ops.convert_to_numpy(parts(images + noise * direction))
            change = norms(noisy - clean) / _nonzero(norms(clean))
            rows.append(np.stack([change, 100.0 * (noisy.argmax(axis=1) != clean.argmax(axis=1))]))
    units = [
        {"unit": name, **{key: _mean(measures.get(key)) for key in ("ratio", "change", "cosine", "gain")}}
        for name, measures in by_unit.items()
    ]
    ratios = np.array([unit["ratio"] for unit in units if unit["ratio"] is not None])
    means = {noise: np.concatenate(rows, axis=1).mean(axis=1) for noise, rows in by_noise.items()}
    return {
        "units": units,
        "depth_used": round(float(ratios.sum() ** 2 / np.square(ratios).sum()), 2) if ratios.any() else None,
        "noise": [
            {"noise": noise, "logits": significant(logits), "decisions": round(float(decisions), 2)}
            for noise, (logits, decisions) in means.items()
        ],
    }


def _unit_measures(
    parts: Chain, split: Mapping[str, Branches], images: np.ndarray, direction: np.ndarray
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Yields each unit's "ratio", "change", "cosine" and "gain" (see `identity`), those that it has, for each image."""
    relative_noise = norms(direction) / _nonzero(norms(images))
    clean, noisy = parts.maps(images), parts.maps(images + direction)
    before, _ = next(clean), next(noisy)
    for name, after, noisy_after in zip(parts.units, clean, noisy, strict=True):
        measures = {}
        if name in split:
            shortcut, residual = split[name].split(before)
            measures["ratio"] = norms(residual) / _nonzero(norms(shortcut))
        if before.shape == after.shape:
            measures["change"] = norms(after - before) / _nonzero(norms(before))
            product = np.einsum("ij,ij->i", vectors(before), vectors(after))
            measures["cosine"] = product / _nonzero(norms(before) * norms(after))
        measures["gain"] = norms(noisy_after - after) / _nonzero(norms(after)) / relative_noise
        yield name, measures
        before = after


def _nonzero(norm: np.ndarray) -> np.ndarray:
    """Replaces 0 by NaN, so that a division by it is left out of the mean."""
    return np.where(norm > 0, norm, np.nan)


def _mean(values: list[np.ndarray] | None) -> float | None:
    """Returns the mean of the finite values; None if there are none."""
    numbers = np.concatenate(values or [np.zeros(0)])
    numbers = numbers[np.isfinite(numbers)]
    return significant(numbers.mean()) if len(numbers) else None


def summary_line(result: dict[str, Any]) -> str:
    """Returns the result in one line."""
    units, noise = result["units"], result["noise"][2]
    noise_text = f"noise of {noise['noise']:g} in 255 changes {noise['decisions']:.1f} % of the decisions"
    if result["depth_used"] is None:
        return noise_text
    ratios = [unit["ratio"] for unit in units if unit["ratio"] is not None]
    return (
        f"residuals are {np.mean(ratios):.2g} of the shortcut on average, spread over {result['depth_used']:.1f} of "
        f"{len(units)} units; {noise_text}"
    )


def draw(networks: Mapping[str, dict[str, Any]], path: Path, title: str) -> None:
    """Draws how much units change their inputs, and how noise on the image propagates.

    Args:
        networks: results of `identity` by network name.
        path: the PNG file to write.
        title: title of the picture.
    """
    figure = Figure(figsize=(9.6, 6.8), dpi=150, layout="constrained")
    panels = [plain(axes) for axes in figure.subplots(2, 2).flat]
    labels = {
        "ratio": "residual / shortcut",
        "change": "|output - input| / |input|",
        "gain": "relative change of the output / of the image",
    }
    looks = styles(networks)
    for name, result in networks.items():
        numbers = range(1, len(result["units"]) + 1)
        for axes, key in zip(panels, labels, strict=False):
            values = [np.nan if unit[key] is None else unit[key] for unit in result["units"]]
            draw_line(axes, numbers, values, looks[name])
        noise = [0, *(row["noise"] for row in result["noise"])]
        draw_line(panels[3], noise, [0, *(row["decisions"] for row in result["noise"])], looks[name])
    for axes, label in zip(panels, labels.values(), strict=False):
        axes.set_xlabel("unit, from input to output")
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
        whole_numbers(axes.xaxis)
    panels[3].set_xlabel("standard deviation of the noise, for images of 0 to 255")
    panels[3].set_ylabel("decisions that change")
    panels[3].set_ylim(0, max(1, panels[3].get_ylim()[1]))
    panels[3].yaxis.set_major_formatter("{x:g} %")
    legend_below(panels[0], figure)
    save(figure, path, title)
