"""Which paths through a residual network its gradient takes (Veit et al. 2016, section 5 and figure 6).

A residual network of n units is a collection of 2^n paths, since a path takes either the residual or the shortcut of
each unit. Most paths take about half of the residuals, but most of the gradient flows along far shorter ones.
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
from ..drawing import draw_line, legend_below, plain, save, styles, vertically_logarithmic
from ..models.chain import branches, chain
from ..models.taps import to_logits
from .inputs import NO_SHORTCUTS, Batches, counted, norms, summed_loss

LENGTHS = 24  # number of path lengths that are measured; the gradients of the others are interpolated


def paths(
    model: keras.Model,
    batches: Batches,
    *,
    draws: int = 10,
    seed: int = 0,
    verbose: int = 0,
) -> dict[str, Any]:
    """Measures how much of the gradient flows along paths of each length.

    The forward pass goes through the entire network. In the backward pass, the gradient flows through the residuals of
    some units, chosen at random, and through the shortcuts of all others, so that the gradient of a single path arrives
    at the image. The length of a path is the number of residuals that it takes.

    Args:
        model: a model of this package with a top and shortcuts that takes raw images.
        batches: batches of images (n, height, width, channels), labels (n,) and weights (n,); images of weight 0 are
            left out.
        draws: number of random paths of each length.
        seed: seed of the draws.
        verbose: 1 for a progress bar.

    Returns:
        "units", their number; "lengths", a dict for each length: "length", "paths" (the share of all paths), "gradient"
        (the norm of a single path's gradient at the image, averaged over paths and images), "share" (of the sum of
        these norms over all paths) and "measured" (false if "gradient" is interpolated); and "effective_length", the
        mean length weighted by these shares, with "from" and "to", the lengths between which 90 % of them are.

    Raises:
        ValueError: the network is plain (it has a single path), the model has no top or is not of this package, or
            there are no images.
    """
    units, gradient, rng = len(branches(model)), path_gradient(model), np.random.default_rng(seed)
    lengths = sorted({round(length) for length in np.linspace(0, units, min(units + 1, LENGTHS))})
    measured: dict[int, list[float]] = {length: [] for length in lengths}
    images_and_labels = list(counted(batches))
    total = len(lengths) * draws * len(images_and_labels)
    with tqdm(desc="Paths", total=total, leave=False, disable=not verbose) as bar:
        for images, labels in images_and_labels:
            for length in lengths:
                for _ in range(draws):
                    through = np.zeros(units, "float32")
                    through[rng.choice(units, length, replace=False)] = 1
                    measured[length] += list(norms(gradient(images, labels, through)))
                    bar.update()
    means = {length: float(np.mean(values)) for length, values in measured.items()}
    return {"units": units, **shares(units, means)}


def path_gradient(model: keras.Model) -> Callable[[Any, Any, Any], np.ndarray]:
    """Returns a function that computes the gradient of a single path; those of all paths add up to the full gradient.

    Args:
        model: a model of this package with a top and shortcuts.

    Returns:
        A function of images, labels and one number per unit: 1 if the path takes its residual, 0 if it takes its
        shortcut. It returns the gradient of the cross-entropy with respect to the images, for the weights that the
        model has when it is called.

    Raises:
        ValueError: the network is plain (it has a single path), or the model has no top or is not of this package.
    """
    parts, split = chain(to_logits(model)), branches(model)
    if not split:
        raise ValueError(NO_SHORTCUTS.format(model.name))

    def loss(images: list[Any], labels: Any, through: Any) -> Any:
        x = parts.stem(images[0])
        for number, unit in enumerate(split.values()):
            shortcut, residual = unit.split(x)
            x = unit.after(_passing(shortcut, 1 - through[number]) + _passing(residual, through[number]))
        return summed_loss(parts.head(x), labels)

    gradient = backend.gradient(loss, model.variables)
    return lambda images, labels, through: gradient([images], labels, np.asarray(through, "float32"))[0]


def _passing(branch: Any, passes: Any) -> Any:
    """Returns the branch unchanged; its gradient passes if `passes` is 1 and is stopped if it is 0."""
    passes = keras.ops.cast(passes, branch.dtype)
    return passes * branch + (1 - passes) * keras.ops.stop_gradient(branch)


def shares(units: int, norms: Mapping[int, float]) -> dict[str, Any]:
    """Returns the share of the gradient that flows along paths of each length.

    Args:
        units: number of units with a shortcut and a residual.
        norms: norm of a single path's gradient by length; those of other lengths are interpolated in the logarithm.

    Returns:
        "lengths", "effective_length", "from" and "to", as in the result of `paths`.
    """
    lengths = np.arange(units + 1)
    measured = np.log(np.maximum(list(norms.values()), np.finfo("float64").tiny))
    log_gradient = np.interp(lengths, list(norms), measured)
    log_paths = [math.lgamma(units + 1) - math.lgamma(k + 1) - math.lgamma(units - k + 1) for k in lengths]
    share = np.exp(log_gradient + log_paths - np.max(log_gradient + log_paths))
    share /= share.sum()
    cumulative = np.cumsum(share)
    return {
        "lengths": [
            {
                "length": int(length),
                "paths": float(np.exp(log_paths[length] - units * math.log(2))),
                "gradient": float(np.exp(log_gradient[length])),
                "share": float(share[length]),
                "measured": int(length) in norms,
            }
            for length in lengths
        ],
        "effective_length": round(float((lengths * share).sum()), 2),
        "from": int(np.searchsorted(cumulative, 0.05)),
        "to": int(np.searchsorted(cumulative, 0.95)),
    }


def summary_line(result: dict[str, Any]) -> str:
    """Returns the result in one line."""
    return (
        f"90 % of the gradient flows along paths through {result['from']} to {result['to']} of {result['units']} "
        f"units, {result['effective_length']:.1f} on average"
    )


def draw(networks: Mapping[str, dict[str, Any]], path: Path, title: str) -> None:
    """Draws the three panels of figure 6 of Veit et al. 2016.

    Args:
        networks: results of `paths` by network name.
        path: the PNG file to write.
        title: title of the picture.
    """
    figure = Figure(figsize=(12, 4), dpi=150, layout="constrained")
    panels = [plain(axes) for axes in figure.subplots(1, 3)]
    looks = styles(networks)
    for name, result in networks.items():
        rows = result["lengths"]
        lengths = [row["length"] for row in rows]
        for axes, key in zip(panels, ("paths", "gradient", "share"), strict=True):
            draw_line(axes, lengths, [row[key] for row in rows], looks[name])
    vertically_logarithmic(panels[1])
    for axes, label in zip(
        panels, ("share of all paths", "norm of a path's gradient", "share of the gradient"), strict=True
    ):
        axes.set_xlabel("length of the path: residuals that it takes")
        axes.set_ylabel(label)
    legend_below(panels[0], figure)
    save(figure, path, title)
