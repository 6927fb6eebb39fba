"""What the pictures of analyses have in common."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure


def plain(axes: Axes) -> Axes:
    """Axes with a faint grid and nothing else that has no meaning."""
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def save(figure: Figure, path: Path, title: str, legend: Axes) -> None:
    """Writes a picture.

    Args:
        figure: the picture.
        path: the PNG file.
        title: what stands above it.
        legend: the panel that names the networks.
    """
    legend.legend(loc="best", fontsize=8, framealpha=0.8, edgecolor="none")
    figure.suptitle(literal(title), fontsize=10)
    figure.savefig(path)


def literal(text: str) -> str:
    """Text as matplotlib shows it as it is, and does not take the part between two dollar signs for a formula."""
    return text.replace("$", r"\$")
