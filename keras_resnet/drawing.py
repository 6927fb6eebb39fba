"""Style and helpers of all plots."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

INK, ACCENT, FAINT, CALM = "#1f2933", "#c8102e", "#9aa5b1", "#3b82c4"


def plain(axes: Axes) -> Axes:
    """Gives axes a faint grid and removes the top and right spines; returns the axes."""
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def logarithmic(axes: Axes) -> None:
    """Makes the horizontal axis logarithmic, with plain tick labels: 0.1, 0.2, 0.5, 1."""
    axes.set_xscale("log")
    _label_plainly(axes.xaxis)


def vertically_logarithmic(axes: Axes) -> None:
    """Makes the vertical axis logarithmic, with plain tick labels if what is plotted spans less than two decades."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high < 100 * low:
        _label_plainly(axes.yaxis)


def _label_plainly(axis: Axis) -> None:
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def legend(axes: Axes) -> None:
    """Adds a legend where it hides the least of the plot."""
    axes.legend(loc="best", fontsize=8, framealpha=0.8, edgecolor="none")


def literal(text: str) -> str:
    """Escapes dollar signs, between which matplotlib would otherwise typeset a formula."""
    return text.replace("$", r"\$")


def save(figure: Figure, path: Path, title: str) -> None:
    """Saves a figure with a title, in the format of the path's suffix."""
    figure.suptitle(literal(title), fontsize=10)
    figure.savefig(path)
