"""Style and helpers of all plots."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from .files import printable

INK, ACCENT, FAINT, CALM = "#1f2933", "#c8102e", "#9aa5b1", "#3b82c4"
# Ten colours that colour-blind readers can distinguish (Petroff 2021, "Accessible Color Sequences for Data
# Visualization"), and seven markers, so that seventy lines differ in one or the other.
COLORS = (
    *("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6"),
    *("#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
MARKED = 40  # points of a line up to which each has a marker
WRAPPED = 110  # characters of a name in a legend after which a new line begins


def plain(axes: Axes) -> Axes:
    """Gives axes a faint grid and removes the top and right spines; returns the axes."""
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def logarithmic(axes: Axes) -> None:
    """Makes the horizontal axis logarithmic, with plain tick labels: 0.1, 0.2, 0.5, 1, or powers of ten only."""
    axes.set_xscale("log")
    _label_plainly(axes.xaxis)


def vertically_logarithmic(axes: Axes) -> None:
    """Makes the vertical axis logarithmic, with plain tick labels if what is plotted spans less than two decades."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high < 100 * low:
        _label_plainly(axes.yaxis)


def _label_plainly(axis: Axis) -> None:
    low, high = axis.get_view_interval()
    # 1, 2 and 5 times the powers of ten may leave a single tick on less than a decade, and too many on two decades.
    if high < 10 * low:
        axis.set_major_locator(MaxNLocator(5, steps=(1, 2, 2.5, 5, 10)))
    else:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)) if high < 100 * low else LogLocator(numticks=5))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def whole_numbers(axis: Axis, most: int | Literal["auto"] = "auto") -> None:
    """Gives an axis ticks at whole numbers only, even if its range has a single one, in at most `most` intervals."""
    axis.set_major_locator(MaxNLocator(most, integer=True, min_n_ticks=1))


def styles(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Returns by name the colour, the marker and the label of a line, as keyword arguments for `draw_line`."""
    return {
        name: {
            "color": COLORS[index % len(COLORS)],
            "marker": MARKERS[index % len(MARKERS)],
            # Matplotlib leaves labels that begin with an underscore out of legends.
            "label": f" {literal(name)}" if name.startswith("_") else literal(name),
        }
        for index, name in enumerate(names)
    }


def draw_line(axes: Axes, x: Sequence[float], y: Sequence[float], style: dict[str, Any]) -> Line2D:
    """Draws a line in one of the `styles`, or a variation of it; returns it. Of many points, only some have markers."""
    every = math.ceil(len(x) / MARKED) or 1
    (line,) = axes.plot(x, y, **{"linewidth": 1.3, "markersize": 3.5, "markevery": every, **style})
    return line


def legend_below(axes: Axes, figure: Figure) -> None:
    """Adds a legend of the axes' lines below all plots of a figure, which grows by its height."""
    handles, labels = axes.get_legend_handles_labels()
    labels = [textwrap.fill(label, WRAPPED) for label in labels]
    lines = [line for label in labels for line in label.splitlines()]
    widest = 0.7 + 0.065 * max(map(len, lines), default=0)  # inches: line, gaps and text
    columns = max(1, min(len(labels), int(figure.get_figwidth() / widest)))
    figure.set_figheight(figure.get_figheight() + 0.18 * math.ceil(len(lines) / columns))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=8, frameon=False)


def literal(text: str) -> str:
    """Escapes dollar signs, between which matplotlib would typeset a formula, and bytes of names that are no text."""
    return printable(text).replace("$", r"\$")


def save(figure: Figure, path: Path, title: str) -> None:
    """Saves a figure with a title, wrapped to its width, in the format of the path's suffix."""
    width = int(figure.get_figwidth() / 0.085)  # a character of this size is 0.085 inches wide on average
    wrapped = "\n".join(textwrap.fill(line, width) for line in title.splitlines())
    figure.suptitle(literal(wrapped), fontsize=10)
    figure.savefig(path)
