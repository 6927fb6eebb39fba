"""Plots of an evaluation's results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from ..drawing import ACCENT, FAINT, INK, literal, plain, save, whole_numbers

MAX_CLASSES_WITH_NUMBERS, MAX_CLASSES_WITH_NAMES = 20, 60  # beyond these, a plot has no room for them


def draw_confusion(matrix: np.ndarray, names: Sequence[str], path: Path, title: str) -> None:
    """Draws a confusion matrix with one row per class that has images, in percent of the class's images.

    Args:
        matrix: (classes, classes), the number of images of each class (rows) predicted as each class (columns).
        names: one name per class.
        path: the PNG file to write.
        title: the title of the plot.
    """
    rows = np.flatnonzero(matrix.sum(axis=1))
    names = [literal(name) for name in names]
    columns = [names[row] for row in rows]
    shares = matrix[np.ix_(rows, rows)]
    if len(rows) < len(names) and (others := matrix[rows].sum(axis=1) - shares.sum(axis=1)).any():
        shares, columns = np.column_stack([shares, others]), [*columns, "other classes"]
    shares = 100 * shares / matrix[rows].sum(axis=1, keepdims=True)
    side = float(np.clip(3.2 + 0.42 * len(rows), 5.5, 11))
    figure = Figure(figsize=(side + 1.1, side), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    # The colours show the square root of the share, since errors of a few percent should be visible.
    image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 100), interpolation="nearest", aspect="auto")
    figure.colorbar(image, ax=axes, shrink=0.8, format="{x:g} %", label="share of the class's images")
    if len(rows) <= MAX_CLASSES_WITH_NAMES:
        fontsize = 9 if len(rows) <= MAX_CLASSES_WITH_NUMBERS else 6
        axes.set_xticks(
            range(len(columns)), columns, rotation=45, ha="right", rotation_mode="anchor", fontsize=fontsize
        )
        axes.set_yticks(range(len(rows)), [names[row] for row in rows], fontsize=fontsize)
    else:
        for axis in (axes.xaxis, axes.yaxis):
            whole_numbers(axis)
            axis.set_major_formatter(lambda position, _: _class_at(position, rows))
    if len(rows) <= MAX_CLASSES_WITH_NUMBERS:
        _write_shares(axes, shares)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.spines[:].set_visible(False)
    save(figure, path, title)


def _class_at(position: float, rows: np.ndarray) -> str:
    """Returns the number of the class at a position of an axis that has only some of the classes; "" for no class."""
    return str(rows[int(position)]) if 0 <= position < len(rows) else ""


def _write_shares(axes: Axes, shares: np.ndarray) -> None:
    for (row, column), share in np.ndenumerate(shares):
        if share > 0:
            text = f"{share:.0f}" if share >= 9.95 else f"{share:.1f}"
            color = "white" if share > 40 else INK
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color=color)


def draw_calibration(calibration: dict[str, Any], path: Path, title: str) -> None:
    """Draws a reliability diagram and a histogram of the confidence (Guo et al. 2017, figure 1).

    Args:
        calibration: the result of `scores.calibration`.
        path: the PNG file to write.
        title: the title of the plot.
    """
    bins = calibration["bins"]
    width = 1 / len(bins)
    middles = (np.arange(len(bins)) + 0.5) * width
    figure = Figure(figsize=(5.6, 6.4), dpi=150, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    accuracy = [row["accuracy"] or 0 for row in bins]
    upper.bar(middles, accuracy, width, color="#9ecae1", edgecolor="white", label="accuracy")
    filled = [(row["confidence"], row["accuracy"]) for row in bins if row["images"]]
    upper.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle="--", label="perfect calibration")
    upper.plot(*zip(*filled, strict=True), "o", color=ACCENT, markersize=4, clip_on=False, label="mean of the bin")
    error, likelihood = calibration["expected_calibration_error"], calibration["negative_log_likelihood"]
    upper.set_title(f"expected calibration error {error:.2f} %, negative log-likelihood {likelihood:.3f}", fontsize=9)
    upper.set_ylabel("accuracy")
    upper.set_xlim(0, 1)
    upper.set_ylim(0, 1)
    upper.legend(frameon=False, loc="upper left")
    lower.bar(middles, [row["images"] for row in bins], width, color=FAINT, edgecolor="white")
    lower.set_ylabel("images")
    lower.set_xlabel("confidence (probability of the predicted class)")
    whole_numbers(lower.yaxis, most=3)
    for axes in (upper, lower):
        plain(axes)
    save(figure, path, title)
