"""The papers' figures, redrawn from runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ..drawing import INK, literal, plain, save

FAR = 25  # percent
BESIDE = 6  # rows, beyond which their names stand beside the picture

Curves = Mapping[str, Sequence[float]]


def draw_curves(rows: Mapping[str, Sequence[Curves]], path: Path, title: str) -> None:
    """Draws errors over the epochs as the papers do: training dashed, test bold, a colour a row.

    Args:
        rows: by name, the curves of each run: "epoch", "train_error" and "test_error", a value an epoch. Of several
            runs the median of each epoch is drawn, over those that came so far.
        path: the PNG file to write.
        title: what stands above the picture.
    """
    rows = {name: runs for name, runs in rows.items() if runs}
    figure = Figure(figsize=(9.6, 5.6), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    colors = colormaps["tab10" if len(rows) <= 10 else "tab20"].colors
    highest = []
    for (name, runs), color in zip(rows.items(), colors, strict=False):
        epochs = max((run["epoch"] for run in runs), key=len)
        train, test = (
            [np.median([run[kind][place] for run in runs if len(run[kind]) > place]) for place in range(len(epochs))]
            for kind in ("train_error", "test_error")
        )
        marker = "o" if len(epochs) < 3 else None
        axes.plot(epochs, train, color=color, linewidth=1, linestyle="--", alpha=0.8, marker=marker)
        axes.plot(epochs, test, color=color, linewidth=1.8, marker=marker, label=f"{literal(name)}: {test[-1]:.2f} %")
        highest += [*test[len(test) // 4 :], *train[len(train) // 4 :]]
    # The first quarter of a run may be off the top, as in the papers. Runs that are far from zero are seen from nearby.
    axes.set_ylim(max(0, 0.9 * min(highest) - 2) if min(highest) > FAR else 0, min(100, 1.1 * max(highest)))
    axes.yaxis.set_major_formatter("{x:g} %")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel("top-1 error")
    plain(axes)
    styles = [
        Line2D([], [], color=INK, linewidth=1.8),
        Line2D([], [], color=INK, linewidth=1, linestyle="--"),
    ]
    handles, labels = axes.get_legend_handles_labels()
    beside = {"loc": "upper left", "bbox_to_anchor": (1, 1)} if len(rows) > BESIDE else {"loc": "best"}
    named = [*handles, *styles], [*labels, "test", "training"]
    axes.legend(*named, fontsize=8, framealpha=0.8, edgecolor="none", **beside)
    save(figure, path, title)
