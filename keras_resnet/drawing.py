"""What all pictures have in common."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

INK, ACCENT, FAINT, CALM = "#1f2933", "#c8102e", "#9aa5b1", "#3b82c4"


def plain(axes: Axes) -> Axes:
    """Axes with a faint grid and nothing else that has no meaning."""
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def logarithmic(axes: Axes) -> None:
    """Has the horizontal axis show numbers of a few decades as one reads them: 0.1, 0.2, 0.5, 1."""
    axes.set_xscale("log")
    axis = axes.xaxis
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def legend(axes: Axes) -> None:
    """Names what is drawn, where it hides the least of it."""
    axes.legend(loc="best", fontsize=8, framealpha=0.8, edgecolor="none")


def literal(text: str) -> str:
    """Text as matplotlib shows it as it is, and does not take the part between two dollar signs for a formula."""
    return text.replace("$", r"\$")


def save(figure: Figure, path: Path, title: str) -> None:
    """Writes a picture as a PNG file, with a title above it."""
    figure.suptitle(literal(title), fontsize=10)
    figure.savefig(path)
