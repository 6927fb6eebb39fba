"""Networks with units left out or swapped (Veit et al. 2016, "Residual Networks Behave Like Ensembles of Relatively
Shallow Networks").

A plain network fails if any one of its layers is removed. A residual network hardly suffers from the loss of a unit,
except for the units that change the shape, and its error grows smoothly with the number of units that are missing or
out of place.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure
from scipy.stats import kendalltau
from tqdm import tqdm

from ..drawing import draw_line, legend_below, plain, save, styles, whole_numbers
from ..evaluation.scores import ranks
from ..models.chain import branches, chain
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
        reducible: names of the other units that have a shortcut, which can be reduced to it.

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
        split = {name: unit for name, unit in branches(model).items() if name not in self.movable}
        self.reducible, self._split = list(split), split
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

    def error(self, order: Sequence[str] | None = None, reduced: Collection[str] = ()) -> float:
        """Returns the top-1 error of the changed network in percent.

        Args:
            order: names of the units in their new order, without those to leave out; None for the original order.
            reduced: names of units, of those in `reducible`, that lose their residual.
        """
        order = self.names if order is None else list(order)
        pairs = enumerate(zip(order, self.names, strict=False))
        unchanged = next((index for index, (a, b) in pairs if a != b or a in reduced), len(order))
        start = max(index for index in self._cached if index <= unchanged)
        maps = self._cached[start]
        for name in order[start:]:
            unit = partial(self._shortcut_of, name) if name in reduced else self._parts.units[name].predict_on_batch
            maps = [unit(batch) for batch in maps]
        scores = np.concatenate([np.asarray(self._parts.head.predict_on_batch(batch)) for batch in maps])
        wrong = ranks(scores, self._labels)[self._weights > 0] >= 1
        return round(100 * float(wrong.mean()), 4)

    def _shortcut_of(self, name: str, batch: np.ndarray) -> np.ndarray:
        """Returns the output of a unit without its residual."""
        shortcut, _ = self._split[name].split(batch)
        return keras.ops.convert_to_numpy(self._split[name].after(shortcut))


def lesions(
    model: keras.Model,
    batches: Batches,
    *,
    draws: int = 3,
    seed: int = 0,
    verbose: int = 0,
) -> dict[str, Any]:
    """Measures the error without one unit, without several, and with units swapped.

    As in the publication, units that change the shape of the map are not moved, and only lose their residual where
    others are left out, so that what their shortcut carries (padded or projected) remains.

    Args:
        model: a model of this package that takes raw images.
        batches: as for `Lesions`.
        draws: number of random choices for each number of units.
        seed: seed of the choices.
        verbose: 1 for a progress bar.

    Returns:
        "error", that of the unchanged network; "deleted", the errors without one unit, by the names of all units, in
        order (figure 3; None for a unit that changes the shape and has no shortcut, as in plain networks); "several", a
        dict for each number of deleted units, all of them units that keep the shape: "units" and "error", the mean over
        the draws (figure 5a); and "swapped", a dict for each number of swaps: "swaps", "correlation" (Kendall's tau of
        the order, 1 for the original one) and "error", means over the draws (figure 5b). All errors are in percent.

    Raises:
        ValueError: the model is not of this package, or there are no images.
    """
    network, rng = Lesions(model, batches), np.random.default_rng(seed)
    counts = _counts(len(network.movable))
    total = len(network.movable) + len(network.reducible) + 2 * draws * len(counts)
    with tqdm(desc="Lesions", total=total, leave=False, disable=not verbose) as bar:

        def error(order: Sequence[str], reduced: Collection[str] = ()) -> float:
            bar.update()
            return network.error(order, reduced)

        deleted: dict[str, float | None] = dict.fromkeys(network.names)
        deleted |= {name: error([other for other in network.names if other != name]) for name in network.movable}
        deleted |= {name: error(network.names, [name]) for name in network.reducible}
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
    deleted = {name: error for name, error in result["deleted"].items() if error is not None}
    if not deleted:
        return f"{result['error']:.2f} % error; it has no unit that can be left out"
    worst = max(deleted, key=deleted.__getitem__)
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
    looks = styles(networks)
    for name, result in networks.items():
        errors = [np.nan if error is None else error for error in result["deleted"].values()]
        line = draw_line(one, range(1, len(errors) + 1), errors, looks[name])
        one.axhline(result["error"], color=line.get_color(), linewidth=0.8, linestyle=":")
        units = [0, *(row["units"] for row in result["several"])]
        draw_line(several, units, [result["error"], *(row["error"] for row in result["several"])], looks[name])
        ordered = sorted(result["swapped"], key=lambda row: row["correlation"], reverse=True)
        correlations = [1, *(row["correlation"] for row in ordered)]
        draw_line(swapped, correlations, [result["error"], *(row["error"] for row in ordered)], looks[name])
    one.set_xlabel("the unit that is left out, from input to output (dotted: none; a gap: it cannot be left out)")
    several.set_xlabel("units left out at random, of those that keep the shape")
    swapped.set_xlabel("Kendall's tau of the units' order, after random swaps")
    swapped.invert_xaxis()
    for axes in (one, several, swapped):
        plain(axes).set_ylabel("top-1 error")
        axes.set_ylim(0, 100)
        axes.yaxis.set_major_formatter("{x:g} %")
    for axes in (one, several):
        whole_numbers(axes.xaxis)
    legend_below(one, figure)
    save(figure, path, title)
