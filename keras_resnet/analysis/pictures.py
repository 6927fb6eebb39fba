"""The pictures of what is found in networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator


def draw_responses(networks: Mapping[str, Sequence[float]], path: Path, title: str) -> None:
    """Draws standard deviations of responses as figure 7 of He et al. 2015 does: by layer, and sorted.

    Args:
        networks: by name, a deviation a layer in order.
        path: the PNG file to write.
        title: what stands above the picture.
    """
    figure = Figure(figsize=(9.6, 6.4), dpi=150, layout="constrained")
    upper, lower = figure.subplots(2, 1)
    for name, deviations in networks.items():
        marker = "." if len(deviations) < 60 else None
        for axes, values in ((upper, deviations), (lower, sorted(deviations, reverse=True))):
            axes.plot(range(1, len(values) + 1), values, linewidth=1.4, marker=marker, label=name)
    upper.set_xlabel("layer, from input to output")
    lower.set_xlabel("layer, sorted by its standard deviation")
    for axes in (upper, lower):
        axes.set_ylabel("standard deviation")
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    upper.legend(frameon=False)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path)


def draw_lesions(networks: Mapping[str, dict[str, Any]], path: Path, title: str) -> None:
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
        (line,) = one.plot(range(1, len(errors) + 1), errors, "o-", markersize=3, linewidth=1, label=name)
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
        axes.set_ylabel("top-1 error")
        axes.set_ylim(0, 100)
        axes.yaxis.set_major_formatter("{x:g} %")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in (one, several):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    one.legend(loc="best", fontsize=8, framealpha=0.8, edgecolor="none")
    figure.suptitle(title, fontsize=10)
    figure.savefig(path)
