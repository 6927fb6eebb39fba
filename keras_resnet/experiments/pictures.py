"""Plots of runs in the style of the papers' figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..drawing import INK, draw_line, plain, save, styles, whole_numbers

ZOOM_ERROR = 25  # percent; if all errors are above, the vertical axis does not begin at zero
MAX_INSIDE = 6  # rows; with more, the legend is placed beside the plot

Curves = Mapping[str, Sequence[float]]


def draw_curves(rows: Mapping[str, Sequence[Curves]], path: Path, title: str, quantity: str = "top-1 error") -> None:
    """Draws errors over the epochs as the papers do: dashed for training, bold for test, one colour and marker per row.

    The markers of training are hollow, so that runs of one epoch, which have no lines, can be read too.

    Args:
        rows: by name of the row, the curves of its runs: "epoch", "train_error" and "test_error", with one value per
            epoch. Several runs are drawn as their median, at each epoch over those that reached it.
        path: PNG file to write.
        title: title above the plot.
        quantity: label of the vertical axis.
    """
    rows = {name: runs for name, runs in rows.items() if runs}
    figure = Figure(figsize=(9.6, 5.6), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    looks, shown = styles(rows), []
    for name, runs in rows.items():
        epochs = max((run["epoch"] for run in runs), key=len)
        train, test = (
            [np.median([run[kind][index] for run in runs if len(run[kind]) > index]) for index in range(len(epochs))]
            for kind in ("train_error", "test_error")
        )
        look = {**looks[name], "markevery": max(1, len(epochs) // 10)}
        training = {"label": None, "linewidth": 1, "linestyle": "--", "fillstyle": "none", "alpha": 0.8}
        draw_line(axes, epochs, train, {**look, **training})
        draw_line(axes, epochs, test, {**look, "label": f"{look['label']}: {test[-1]:.2f} %", "linewidth": 1.8})
        shown += [*test[len(test) // 4 :], *train[len(train) // 4 :]]
    # The first quarter of a run may be cut off at the top, as in the papers.
    lowest = min(shown)
    axes.set_ylim(max(0, 0.9 * lowest - 2) if lowest > ZOOM_ERROR else 0, min(100, 1.1 * max(shown)))
    axes.yaxis.set_major_formatter("{x:g} %")
    whole_numbers(axes.xaxis)
    axes.set_xlabel("epoch")
    axes.set_ylabel(quantity)
    plain(axes)
    kind: dict[str, Any] = {"color": INK, "marker": "o", "markersize": 3.5}
    kinds = [
        Line2D([], [], linewidth=1.8, **kind),
        Line2D([], [], linewidth=1, linestyle="--", fillstyle="none", **kind),
    ]
    handles, labels = axes.get_legend_handles_labels()
    placement = {"loc": "upper left", "bbox_to_anchor": (1, 1)} if len(rows) > MAX_INSIDE else {"loc": "best"}
    entries = [*handles, *kinds], [*labels, "test", "training"]
    axes.legend(*entries, fontsize=8, framealpha=0.8, edgecolor="none", **placement)
    save(figure, path, title)
