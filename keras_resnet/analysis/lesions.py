"""Networks with units left out or swapped (Veit et al. 2016, "Residual Networks Behave Like Ensembles of Relatively
Shallow Networks").

A plain network loses all it knows with any one layer; of a residual one, a unit more or less hardly matters, and the
error grows smoothly with the number of units that are missing or out of place.
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
from .inputs import Batches

KEPT = 2**31  # bytes of maps that are kept


class Lesions:
    """A network that can be tested with its units in any order, with some of them left out.

    Each part of it is a function of its own, so that no order has to be compiled, and what stands before the first
    lesion is computed once, as far as memory goes.

    Args:
        model: a model of this package; takes raw images.
        batches: images (n, height, width, channels), labels (n,) and weights (n,), of which 0 leaves an image out.

    Attributes:
        names: the units, in order.
        movable: those that neither halve the map nor widen it, which can be left out or change places with others of
            their stage.

    Raises:
        ValueError: a model of someone else's, or no images.
    """

    def __init__(self, model: keras.Model, batches: Batches) -> None:
        self._parts = chain(model)
        self.names = list(self._parts.units)
        batches = list(batches)
        if not batches:
            raise ValueError("There are no images to test lesions with.")
        self._labels = np.concatenate([labels for _, labels, _ in batches])
        self._weights = np.concatenate([weights for _, _, weights in batches])
        every, shapes = self._look_at(batches[0][0], len(batches))
        self.movable = [
            name for name, (one, other) in zip(self.names, itertools.pairwise(shapes), strict=True) if one == other
        ]
        # What a unit takes in the whole network, batch by batch, of every so many units, by their places.
        maps = [self._parts.stem.predict_on_batch(images) for images, _, _ in batches]
        self._before = {0: maps}
        for place, unit in enumerate(self._parts.units.values(), start=1):
            maps = [unit.predict_on_batch(batch) for batch in maps]
            if place % every == 0:
                self._before[place] = maps

    def _look_at(self, images: np.ndarray, batches: int) -> tuple[int, list[tuple[int, ...]]]:
        """Of how many units one's input can be kept, and the shapes of all maps."""
        maps = [self._parts.stem.predict_on_batch(images)]
        for unit in self._parts.units.values():
            maps.append(unit.predict_on_batch(maps[-1]))
        return math.ceil(batches * sum(each.nbytes for each in maps) / KEPT), [each.shape for each in maps]

    def error(self, order: Sequence[str] | None = None) -> float:
        """The top-1 error in percent with the units in this order; those that are not in it are left out."""
        order = self.names if order is None else list(order)
        same = next((place for place, (a, b) in enumerate(zip(order, self.names, strict=False)) if a != b), len(order))
        start = max(place for place in self._before if place <= same)
        maps = self._before[start]
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
    """Leaves units out, one and several, and swaps them.

    Args:
        model, batches: as `Lesions` takes them.
        draws: how many random choices of several units.
        seed: of these.
        verbose: 1 for a progress bar.

    Returns:
        "error" of the whole network; "deleted", by unit; "several", a dict a number of units that are left out: "units"
        and "error", the mean over the draws (figure 5a); "swapped", a dict a number of swaps: "swaps", "correlation"
        (Kendall's tau of the order, 1 for the right one) and "error" (figure 5b). Units that halve the map or widen it
        stay where they are.
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
            places = [[network.names.index(name) for name in order] for order in orders]
            correlation = np.mean([kendalltau(range(len(place)), place).statistic for place in places])
            errors = [error(order) for order in orders]
            found = {"correlation": round(float(correlation), 4), "error": round(float(np.mean(errors)), 4)}
            swapped.append({"swaps": count, **found})
    return {"error": network.error(), "deleted": deleted, "several": several, "swapped": swapped}


def _counts(units: int) -> list[int]:
    """About eight numbers of units, from one to nearly all."""
    return sorted({max(1, round(count)) for count in np.geomspace(1, max(1, units - 1), 8)}) if units else []


def _swapped(network: Lesions, swaps: int, rng: np.random.Generator) -> list[str]:
    """The units, of which pairs of one stage have changed places so many times."""
    order = list(network.names)
    stages: dict[str, list[str]] = {}
    for name in network.movable:
        stages.setdefault(name.partition("_")[0], []).append(name)
    choices = [units for units in stages.values() if len(units) > 1]
    for _ in range(swaps if choices else 0):
        one, other = rng.choice(choices[rng.integers(len(choices))], 2, replace=False)
        i, j = order.index(one), order.index(other)
        order[i], order[j] = order[j], order[i]
    return order


def summary_line(found: dict[str, Any]) -> str:
    """What was found, in a line."""
    deleted = found["deleted"]
    if not deleted:
        return f"{found['error']:.2f} % error; it has no unit that can be left out"
    worst = max(deleted, key=deleted.get)
    mean = sum(deleted.values()) / len(deleted)
    return (
        f"{found['error']:.2f} % error; without any one of {len(deleted)} units {mean:.2f} % on the average, "
        f"{deleted[worst]:.2f} % without {worst}"
    )


def draw(networks: Mapping[str, dict[str, Any]], path: Path, title: str) -> None:
    """Draws errors of networks with lesions, as figures 3 and 5 of Veit et al. 2016 do.

    Args:
        networks: by name, what `lesions` returns.
        path: the PNG file to write.
        title: what stands above the picture.
    """
    figure = Figure(figsize=(9.6, 6.8), dpi=150, layout="constrained")
    grid = figure.add_gridspec(2, 2)
    one, several, swapped = (figure.add_subplot(grid[place]) for place in ((0, slice(None)), (1, 0), (1, 1)))
    for name, found in networks.items():
        errors = list(found["deleted"].values())
        (line,) = one.plot(range(1, len(errors) + 1), errors, "o-", markersize=3, linewidth=1, label=literal(name))
        one.axhline(found["error"], color=line.get_color(), linewidth=0.8, linestyle=":")
        units = [0, *(row["units"] for row in found["several"])]
        several.plot(units, [found["error"], *(row["error"] for row in found["several"])], "o-", markersize=3)
        ordered = sorted(found["swapped"], key=lambda row: row["correlation"], reverse=True)
        order = [1, *(row["correlation"] for row in ordered)]
        swapped.plot(order, [found["error"], *(row["error"] for row in ordered)], "o-", markersize=3)
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
