"""How near each unit is to the identity, and how much a small change of the input changes.

A unit whose optimum is near the identity need only learn the difference (He et al. 2015, section 3.1): where a residual
is small beside what the shortcut carries, the network makes itself shallower than it was built, unit by unit. The ratio
of their norms is what Jastrzebski et al. 2018 measure ("Residual Connections Encourage Iterative Inference").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from tqdm import tqdm

from ..drawing import legend, literal, plain, save
from ..models.chain import Branches, Chain, branches, chain
from ..models.taps import to_logits
from .inputs import Batches, counted, norms, vectors

NOISE = (1.0, 2.0, 4.0, 8.0, 16.0)  # standard deviations, of a scale of 0 to 255


def identity(
    model: keras.Model,
    batches: Batches,
    *,
    seed: int = 0,
    verbose: int = 0,
) -> dict[str, Any]:
    """How much units change, and what becomes of a small change.

    Args:
        model: a model of this package with a top; takes raw images of 0 to 255.
        batches: images (n, height, width, channels), labels and weights (n,), of which 0 leaves an image out.
        seed: of the noise.
        verbose: 1 for a progress bar.

    Returns:
        "units", a dict a unit, each number the mean over images: "unit"; "ratio", the norm of the residual over that of
        what the shortcut carries (None for a plain unit, or where nothing is carried); "change", the norm of output
        minus input over that of the input, and "cosine" of both (None where the shape changes); "gain", the relative
        change of the output over that of the image, for noise of standard deviation 1. "depth_used", (sum r)^2 /
        sum r^2 of the ratios: as many as there are units if all change as much, 1 if one does all (None of a plain
        network). "noise", a dict a standard deviation: "noise", "logits" (their relative change) and "decisions" (how
        many change, in percent).

    Raises:
        ValueError: a model without a top, or of someone else's; or no images.
    """
    parts, split = chain(to_logits(model)), branches(model)
    each: dict[str, dict[str, list[np.ndarray]]] = {name: {} for name in parts.units}
    noisy: dict[float, list[np.ndarray]] = {noise: [] for noise in NOISE}
    rng = np.random.default_rng(seed)
    for images, _ in tqdm(counted(batches), "Batches", leave=False, disable=not verbose):
        direction = rng.standard_normal(images.shape).astype("float32")
        for name, found in _by_unit(parts, split, images, direction):
            for key, values in found.items():
                each[name].setdefault(key, []).append(values)
        clean = keras.ops.convert_to_numpy(parts(images))
        for noise, rows in noisy.items():
            seen = keras.ops.convert_to_numpy(parts(images + noise * direction))
            change = norms(seen - clean) / _nonzero(norms(clean))
            rows.append(np.stack([change, 100.0 * (seen.argmax(axis=1) != clean.argmax(axis=1))]))
    units = [
        {"unit": name, **{key: _mean(found.get(key)) for key in ("ratio", "change", "cosine", "gain")}}
        for name, found in each.items()
    ]
    ratios = np.array([unit["ratio"] for unit in units if unit["ratio"] is not None])
    means = {noise: np.concatenate(rows, axis=1).mean(axis=1) for noise, rows in noisy.items()}
    return {
        "units": units,
        "depth_used": round(float(ratios.sum() ** 2 / np.square(ratios).sum()), 2) if ratios.any() else None,
        "noise": [
            {"noise": noise, "logits": round(float(logits), 5), "decisions": round(float(decisions), 2)}
            for noise, (logits, decisions) in means.items()
        ],
    }


def _by_unit(
    parts: Chain, split: Mapping[str, Branches], images: np.ndarray, direction: np.ndarray
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Each unit's "ratio", "change", "cosine" and "gain" of `identity`, a number an image, as far as it has them."""
    moved = norms(direction) / norms(images)
    clean, noisy = parts.maps(images), parts.maps(images + direction)
    before, _ = next(clean), next(noisy)
    for name, x, y in zip(parts.units, clean, noisy, strict=True):
        found = {}
        if name in split:
            shortcut, residual = split[name].split(before)
            found["ratio"] = norms(residual) / _nonzero(norms(shortcut))
        if before.shape == x.shape:
            found["change"] = norms(x - before) / _nonzero(norms(before))
            product = np.einsum("ij,ij->i", vectors(before), vectors(x))
            found["cosine"] = product / _nonzero(norms(before) * norms(x))
        found["gain"] = norms(y - x) / _nonzero(norms(x)) / moved
        yield name, found
        before = x


def _nonzero(norm: np.ndarray) -> np.ndarray:
    """NaN instead of 0, by which nothing can be divided; such images are left out of a mean."""
    return np.where(norm > 0, norm, np.nan)


def _mean(values: list[np.ndarray] | None) -> float | None:
    there = np.concatenate(values or [np.zeros(0)])
    there = there[np.isfinite(there)]
    return round(float(there.mean()), 5) if len(there) else None


def summary_line(found: dict[str, Any]) -> str:
    """What was found, in a line."""
    units, noise = found["units"], found["noise"][2]
    told = f"noise of {noise['noise']:g} in 255 changes {noise['decisions']:.1f} % of the decisions"
    if found["depth_used"] is None:
        return told
    ratios = [unit["ratio"] for unit in units if unit["ratio"] is not None]
    return (
        f"residuals {np.mean(ratios):.2f} of the shortcut on the average, {found['depth_used']:.1f} of {len(units)} "
        f"units used; {told}"
    )


def draw(networks: Mapping[str, dict[str, Any]], path: Path, title: str) -> None:
    """Draws what units change, and what becomes of a small change of the image.

    Args:
        networks: by name, what `identity` returns.
        path: the PNG file to write.
        title: what stands above the picture.
    """
    figure = Figure(figsize=(9.6, 6.8), dpi=150, layout="constrained")
    panels = [plain(axes) for axes in figure.subplots(2, 2).flat]
    labels = {
        "ratio": "residual / shortcut",
        "change": "|output - input| / |input|",
        "gain": "relative change / that of the image",
    }
    for name, found in networks.items():
        numbers = range(1, len(found["units"]) + 1)
        for axes, key in zip(panels, labels, strict=False):
            values = [np.nan if unit[key] is None else unit[key] for unit in found["units"]]
            axes.plot(numbers, values, "o-", markersize=3, linewidth=1.2, label=literal(name))
        noise = [0, *(row["noise"] for row in found["noise"])]
        panels[3].plot(noise, [0, *(row["decisions"] for row in found["noise"])], "o-", markersize=3, linewidth=1.2)
    for axes, label in zip(panels, labels.values(), strict=False):
        axes.set_xlabel("unit, from input to output")
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[3].set_xlabel("standard deviation of noise on the image, of 255")
    panels[3].set_ylabel("decisions that change")
    panels[3].set_ylim(0, max(1, panels[3].get_ylim()[1]))
    panels[3].yaxis.set_major_formatter("{x:g} %")
    legend(panels[1])
    save(figure, path, title)
