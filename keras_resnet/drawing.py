"""What all pictures have in common."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure


def plain(axes: Axes) -> Axes:
    """Axes with a faint grid and nothing else that has no meaning."""
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


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
