"""The plot of a run's history."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ..drawing import ACCENT, FAINT, INK, plain, save, whole_numbers


def draw_curves(history: list[dict[str, Any]], path: Path, title: str) -> None:
    """Plots error, loss and learning rate over the epochs; as in the papers, thin for training and bold for testing.

    Args:
        history: the rows of a run's history, one per epoch.
        path: the PNG file to write.
        title: the title of the figure.
    """
    split = "validation" if "validation_error" in history[0] else "test"
    epochs = [row["epoch"] for row in history]
    figure = Figure(figsize=(9.6, 5.4), dpi=150, layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=(4, 1))
    panels = {
        "error": figure.add_subplot(grid[0, 0]),
        "loss": figure.add_subplot(grid[0, 1]),
    }
    marker = "o" if len(epochs) < 3 else None
    for quantity, axes in panels.items():
        train = [row[f"train_{quantity}"] for row in history]
        test = [row[f"{split}_{quantity}"] for row in history]
        axes.plot(epochs, train, color=FAINT, linewidth=1.2, marker=marker, label="training")
        last = f"{test[-1]:.2f} %" if quantity == "error" else f"{test[-1]:.3f}"
        axes.plot(epochs, test, color=ACCENT, linewidth=1.8, marker=marker, label=f"{split}, at the end {last}")
        axes.set_title(f"top-1 {quantity}" if quantity == "error" else "loss (cross-entropy)", fontsize=10)
        axes.set_ylim(0, 1.05 * _upper(test + train))
        axes.legend(frameon=False)
    panels["error"].yaxis.set_major_formatter("{x:g} %")
    rate = figure.add_subplot(grid[1, :])
    rates = [row["learning_rate"] for row in history]
    rate.plot(epochs, rates, color=INK, drawstyle="steps-pre", marker=marker)
    rate.set_title("learning rate at the end of the epoch", fontsize=10)
    if max(rates) > 0:  # a run of one epoch may end at a rate of zero
        rate.set_yscale("log")
    rate.margins(y=0.2)
    rate.set_xlabel("epoch")
    for axes in (*panels.values(), rate):
        whole_numbers(axes.xaxis)
        plain(axes)
    save(figure, path, title)


def _upper(values: list[float]) -> float:
    """Returns the upper limit of an axis, near the 95th percentile, so that outliers do not flatten the curves."""
    ordered = sorted(values)
    return max(ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))], 1e-6)
