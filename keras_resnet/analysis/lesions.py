"""Networks with units left out or swapped (Veit et al. 2016, "Residual Networks Behave Like Ensembles of Relatively
Shallow Networks").

A plain network fails if any one of its layers is removed. A residual network hardly suffers from the loss of a unit,
and its error grows smoothly with the number of units that are missing or out of place.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.stats import kendalltau
from tqdm import tqdm

from ..drawing import legend, literal, plain, save
from ..evaluation.scores import ranks
from ..models.chain import chain
from .inputs import NO_IMAGES, Batches

CACHED_BYTES = 2**31  # limit of the maps that are held in memory


class Lesions:
    """A network that can be tested with its units in any order and with some of them left out.

    Each unit is a model of its own, so that a new order need not be compiled. The maps before the first lesion are
    computed once and cached, as far as memory allows.

    Args:
        model: a model of this package that takes raw images.
        batches: batches of images (n, height, width, channels), labels (n,) and weights (n,); images of weight 0 are
            left out.

    Attributes:
        names: names of the units, in order.
        movable: names of the units that keep the shape of the map, which can be left out or swapped with others of
            their stage.

    Raises:
        ValueError: the model is not of this package, or there are no images.
    """

    def __init__(self, model: keras.Model, batches: Batches) -> None:
        self._parts = chain(model)
        self.names = list(self._parts.units)
        batches = list(batches)
        if not batches:
            raise ValueError(NO_IMAGES)
        self._labels = np.concatenate([labels for _, labels, _ in batches])
        self._weights = np.concatenate([weights for _, _, weights in batches])
        interval, shapes = self._cache_interval(batches[0][0], len(batches))
        self.movable = [
            name
            for name, (shape_in, shape_out) in zip(self.names, itertools.pairwise(shapes), strict=True)
            if shape_in == shape_out
        ]
        # Batches of input maps of every n-th unit of the unchanged network, by the unit's index.
        maps = [self._parts.stem.predict_on_batch(images) for images, _, _ in batches]
        self._cached = {0: maps}
        for index, unit in enumerate(self._parts.units.values(), start=1):
            maps = [unit.predict_on_batch(batch) for batch in maps]
            if index % interval == 0:
                self._cached[index] = maps

    def _cache_interval(self, images: np.ndarray, batches: int) -> tuple[int, list[tuple[int, ...]]]:
        """Returns the n for which memory holds the input maps of every n-th unit, and the shapes of all maps."""
        maps = [self._parts.stem.predict_on_batch(images)]
        for unit in self._parts.units.values():
            maps.append(unit.predict_on_batch(maps[-1]))
        return math.ceil(batches * sum(each.nbytes for each in maps) / CACHED_BYTES), [each.shape for each in maps]

    def error(self, order: Sequence[str] | None = None) -> float:
        """Returns the top-1 error in percent with the units in this order, without those that it does not name."""
        order = self.names if order is None else list(order)
        unchanged = next((i for i, (a, b) in enumerate(zip(order, self.names, strict=False)) if a != b), len(order))
        start = max(index for index in self._cached if index <= unchanged)
        maps = self._cached[start]
        for name in order[start:]:
            maps = [self._parts.units[name].predict_on_batch(batch) for batch in maps]
        scores = np.concatenate([np.asarray(self._parts.head.predict_on_batch(batch)) for batch in maps])
        wrong = ranks(scores, self._labels)[self._weights > 0] >= 1
        return round(100 * float(wrong.mean()), 4)


def lesions(
    model: keras.Model,
    batches: Batches,
    *,
    draws: int = 3,
    seed: int = 0,
    verbose: int = 0,
) -> dict[str, Any]:
    """Measures the error without one unit, without several, and with units swapped.

    Units that halve the map or widen it are neither left out nor moved.

    Args:
        model: a model of this package that takes raw images.
        batches: as for `Lesions`.
        draws: number of random choices for each number of units.
        seed: seed of the choices.
        verbose: 1 for a progress bar.

    Returns:
        "error", that of the unchanged network; "deleted", the errors without one unit, by its name (figure 3);
        "several", a dict for each number of deleted units: "units" and "error", the mean over the draws (figure 5a);
        and "swapped", a dict for each number of swaps: "swaps", "correlation" (Kendall's tau of the order, 1 for the
        original one) and "error", means over the draws (figure 5b). All errors are in percent.

    Raises:
        ValueError: the model is not of this package, or there are no images.
    """
    network, rng = Lesions(model, batches), np.random.default_rng(seed)
    counts = _counts(len(network.movable))
    total = len(network.movable) + 2 * draws * len(counts)
    with tqdm(desc="Lesions", total=total, leave=False, disable=not verbose) as bar:

        def error(order: Sequence[str]) -> float:
            bar.update()
            return network.error(order)

        deleted = {name: error([other for other in network.names if other != name]) for name in network.movable}
        several, swapped = [], []
        for count in counts:
            errors = []
            for _ in range(draws):
                without = set(rng.choice(network.movable, count, replace=False))
                errors.append(error([name for name in network.names if name not in without]))
            several.append({"units": count, "error": round(float(np.mean(errors)), 4)})
            orders = [_swapped(network, count, rng) for _ in range(draws)]
            permutations = [[network.names.index(name) for name in order] for order in orders]
            correlation = np.mean([kendalltau(range(len(order)), order).statistic for order in permutations])
            errors = [error(order) for order in orders]
            means = {"correlation": round(float(correlation), 4), "error": round(float(np.mean(errors)), 4)}
            swapped.append({"swaps": count, **means})
    return {"error": network.error(), "deleted": deleted, "several": several, "swapped": swapped}


def _counts(units: int) -> list[int]:
    """Returns up to eight numbers of units, from one to all but one."""
    return sorted({max(1, round(count)) for count in np.geomspace(1, max(1, units - 1), 8)}) if units else []


def _swapped(network: Lesions, swaps: int, rng: np.random.Generator) -> list[str]:
    """Returns the order of the units after random swaps of two units of the same stage."""
    order = list(network.names)
    stages: dict[str, list[str]] = {}
    for name in network.movable:
        stages.setdefault(name.partition("_")[0], []).append(name)
    swappable = [units for units in stages.values() if len(units) > 1]
    for _ in range(swaps if swappable else 0):
        one, other = rng.choice(swappable[rng.integers(len(swappable))], 2, replace=False)
        i, j = order.index(one), order.index(other)
        order[i], order[j] = order[j], order[i]
    return order


def summary_line(result: dict[str, Any]) -> str:
    """Returns the result in one line."""
    deleted = result["deleted"]
    if not deleted:
        return f"{result['error']:.2f} % error; it has no unit that can be left out"
    worst = max(deleted, key=deleted.get)
    mean = sum(deleted.values()) / len(deleted)
    return (
        f"{result['error']:.2f} % error; without one of {len(deleted)} units {mean:.2f} % on average, "
        f"at worst {deleted[worst]:.2f} %, without {worst}"
    )


def draw(networks: Mapping[str, dict[str, Any]], path: Path, title: str) -> None:
    """Draws the errors of networks with lesions, as in figures 3 and 5 of Veit et al. 2016.

    Args:
        networks: results of `lesions` by network name.
        path: the PNG file to write.
        title: title of the picture.
    """
    figure = Figure(figsize=(9.6, 6.8), dpi=150, layout="constrained")
    grid = figure.add_gridspec(2, 2)
    one, several, swapped = (figure.add_subplot(grid[cell]) for cell in ((0, slice(None)), (1, 0), (1, 1)))
    for name, result in networks.items():
        errors = list(result["deleted"].values())
        (line,) = one.plot(range(1, len(errors) + 1), errors, "o-", markersize=3, linewidth=1, label=literal(name))
        one.axhline(result["error"], color=line.get_color(), linewidth=0.8, linestyle=":")
        units = [0, *(row["units"] for row in result["several"])]
        several.plot(units, [result["error"], *(row["error"] for row in result["several"])], "o-", markersize=3)
        ordered = sorted(result["swapped"], key=lambda row: row["correlation"], reverse=True)
        correlations = [1, *(row["correlation"] for row in ordered)]
        swapped.plot(correlations, [result["error"], *(row["error"] for row in ordered)], "o-", markersize=3)
    one.set_xlabel("the unit that is left out, from input to output (dotted: none)")
    several.set_xlabel("units left out at random")
    swapped.set_xlabel("Kendall's tau of the units' order, after random swaps")
    swapped.invert_xaxis()
    for axes in (one, several, swapped):
        plain(axes).set_ylabel("top-1 error")
        axes.set_ylim(0, 100)
        axes.yaxis.set_major_formatter("{x:g} %")
    for axes in (one, several):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(one)
    save(figure, path, title)
