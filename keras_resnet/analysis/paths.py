"""Which paths through a residual network its gradient takes (Veit et al. 2016, section 4.3 and figure 6).

A residual network of n units is a bundle of 2^n paths: each leads through a unit's residual or by its shortcut. Most
lead through about half of the residuals. The gradient comes by far shorter ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from .. import backend
from ..drawing import legend, literal, plain, save
from ..models.chain import branches, chain
from ..models.taps import to_logits
from .inputs import Batches, counted, norms, summed_loss

LENGTHS = 24  # lengths that are measured; the magnitudes of others are interpolated


def paths(
    model: keras.Model,
    batches: Batches,
    *,
    draws: int = 10,
    seed: int = 0,
    verbose: int = 0,
) -> dict[str, Any]:
    """How much of the gradient comes by paths of each length.

    Images go forward through the whole network. On the way back, the gradient goes through the residuals of some units,
    chosen at random, and by the shortcuts of all others; what arrives at the image is the gradient of one path.

    Args:
        model: a model of this package with a top and shortcuts; takes raw images.
        batches: images (n, height, width, channels), labels (n,) and weights (n,), of which 0 leaves an image out.
        draws: how many paths of each length.
        seed: of the draws.
        verbose: 1 for a progress bar.

    Returns:
        "units", and "lengths", a dict a number of units whose residual a path goes through: "length", "paths" (the
        share of all paths), "gradient" (the norm at the image of one path's gradient, on the average over paths and
        images), "share" (of the sum over all paths of such norms) and "measured" (false: interpolated). And
        "effective_length", the mean length by these shares, with "from" and "to", between which 90 % of them lie.

    Raises:
        ValueError: a plain network, which has one path; a model without a top, or of someone else's; or no images.
    """
    units, gradient, rng = len(branches(model)), path_gradient(model), np.random.default_rng(seed)
    lengths = sorted({round(length) for length in np.linspace(0, units, min(units + 1, LENGTHS))})
    measured: dict[int, list[float]] = {length: [] for length in lengths}
    batches = list(counted(batches))
    with tqdm(desc="Paths", total=len(lengths) * draws * len(batches), leave=False, disable=not verbose) as bar:
        for images, labels in batches:
            for length in lengths:
                for _ in range(draws):
                    through = np.zeros(units, "float32")
                    through[rng.choice(units, length, replace=False)] = 1
                    measured[length] += list(norms(gradient(images, labels, through)))
                    bar.update()
    return {"units": units, **shares(units, {length: float(np.mean(some)) for length, some in measured.items()})}


def path_gradient(model: keras.Model) -> Callable[[Any, Any, Any], np.ndarray]:
    """The part of a gradient that comes by one path; those of all paths add up to the gradient.

    Args:
        model: a model of this package with a top and shortcuts.

    Returns:
        A function of images, labels, and a number a unit: 1 for a path through its residual, 0 for one by its shortcut.
        It returns the gradient of the cross-entropy at the images, by the weights that the model then has.

    Raises:
        ValueError: a plain network, which has one path; a model without a top, or of someone else's.
    """
    parts, split = chain(to_logits(model)), branches(model)
    if not split:
        raise ValueError(f"{model.name!r} has no shortcuts, so that one path alone leads through it.")

    def loss(images: list[Any], labels: Any, through: Any) -> Any:
        x = parts.stem(images[0])
        for number, unit in enumerate(split.values()):
            shortcut, residual = unit.split(x)
            x = unit.after(_passing(shortcut, 1 - through[number]) + _passing(residual, through[number]))
        return summed_loss(parts.head(x), labels)

    gradient = backend.gradient(loss, model.variables)
    return lambda images, labels, through: gradient([images], labels, np.asarray(through, "float32"))[0]


def _passing(branch: Any, passes: Any) -> Any:
    """A branch as it is, whose gradient passes where `passes` is 1, and where it is 0 does not."""
    passes = keras.ops.cast(passes, branch.dtype)
    return passes * branch + (1 - passes) * keras.ops.stop_gradient(branch)


def shares(units: int, norms: Mapping[int, float]) -> dict[str, Any]:
    """What part of the gradient comes by paths of each length.

    Args:
        units: that can be passed in two ways.
        norms: by length, the norm of one path's gradient; that of other lengths is interpolated, exponentially.

    Returns:
        "lengths", "effective_length", "from" and "to" of `paths`.
    """
    lengths = np.arange(units + 1)
    logs = np.log(np.maximum(list(norms.values()), np.finfo("float64").tiny))
    gradient = np.interp(lengths, list(norms), logs)
    choices = [math.lgamma(units + 1) - math.lgamma(k + 1) - math.lgamma(units - k + 1) for k in lengths]
    part = np.exp(gradient + choices - np.max(gradient + choices))
    part /= part.sum()
    below = np.cumsum(part)
    return {
        "lengths": [
            {
                "length": int(length),
                "paths": float(np.exp(choices[length] - units * math.log(2))),
                "gradient": float(np.exp(gradient[length])),
                "share": float(part[length]),
                "measured": int(length) in norms,
            }
            for length in lengths
        ],
        "effective_length": round(float((lengths * part).sum()), 2),
        "from": int(np.searchsorted(below, 0.05)),
        "to": int(np.searchsorted(below, 0.95)),
    }


def summary_line(found: dict[str, Any]) -> str:
    """What was found, in a line."""
    return (
        f"90 % of the gradient comes by paths through {found['from']} to {found['to']} of {found['units']} units, "
        f"{found['effective_length']:.1f} on the average"
    )


def draw(networks: Mapping[str, dict[str, Any]], path: Path, title: str) -> None:
    """Draws the three panels of figure 6 of Veit et al. 2016.

    Args:
        networks: by name, what `paths` returns.
        path: the PNG file to write.
        title: what stands above the picture.
    """
    figure = Figure(figsize=(12, 4), dpi=150, layout="constrained")
    panels = [plain(axes) for axes in figure.subplots(1, 3)]
    for name, found in networks.items():
        rows = found["lengths"]
        lengths = [row["length"] for row in rows]
        for axes, key in zip(panels, ("paths", "gradient", "share"), strict=True):
            axes.plot(lengths, [row[key] for row in rows], ".-", markersize=4, linewidth=1.2, label=literal(name))
    panels[1].set_yscale("log")
    for axes, label in zip(
        panels, ("share of all paths", "gradient of one path", "share of the gradient"), strict=True
    ):
        axes.set_xlabel("units whose residual the path goes through")
        axes.set_ylabel(label)
    legend(panels[2])
    save(figure, path, title)
