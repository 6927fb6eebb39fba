"""The pictures of what is found in networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

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
