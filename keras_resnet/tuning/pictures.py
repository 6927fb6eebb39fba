"""Plots of the results of a search."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from ..drawing import ACCENT, CALM, FAINT, INK, logarithmic, plain, save, whole_numbers
from .dimensions import Dimension
from .results import history_file, read_history
from .space import Space

COSTS = {"macs": ("million multiply-adds per image", 1e6), "latency": ("milliseconds per image", 1.0)}
Results = Sequence[Mapping[str, Any]]


def completed(results: Results) -> list[Mapping[str, Any]]:
    """Returns the trials that trained to the end with the largest budget of those that did."""
    done = [result for result in results if result["status"] == "done"]
    largest = max((result["budget"] for result in done), default=0)
    return [result for result in done if result["budget"] == largest]


def front(results: Results, cost: str = "macs") -> list[Mapping[str, Any]]:
    """Returns the Pareto front of error and cost ("macs" or "latency"), the cheapest trial first."""
    best: list[Mapping[str, Any]] = []
    for result in sorted(results, key=lambda result: (result[cost], result["error"])):
        if not best or result["error"] < best[-1]["error"]:
            best.append(result)
    return best


def draw_front(results: Results, path: Path, title: str, cost: str = "macs", target: float | None = None) -> None:
    """Draws error against cost ("macs" or "latency"), with the Pareto front and the target, if there is one."""
    cost_label, unit = COSTS[cost]
    results = [result for result in results if result.get(cost)]
    figure = Figure(figsize=(7.6, 5), dpi=150, layout="constrained")
    axes = plain(figure.add_subplot())
    done = completed(results)
    others = [result for result in results if result not in done]
    for trials, label, marker, color in (
        (done, "completed trial", "o", CALM),
        (others, "short, stopped early or failed", "x", FAINT),
    ):
        if trials:
            costs, errors = [trial[cost] / unit for trial in trials], [trial["error"] for trial in trials]
            axes.scatter(costs, errors, marker=marker, color=color, s=28, label=label)
    best = front(done, cost)
    if best:
        costs, errors = [trial[cost] / unit for trial in best], [trial["error"] for trial in best]
        axes.step(costs, errors, where="post", color=ACCENT, linewidth=1.4, label="Pareto front")
        axes.plot(costs, errors, "o", color=ACCENT, markersize=4)
    if target:
        axes.axvline(target / unit, color=INK, linewidth=1, linestyle=":", label="target")
    logarithmic(axes)
    axes.set_xlabel(cost_label)
    axes.set_ylabel("error")
    axes.yaxis.set_major_formatter("{x:g} %")
    axes.legend(fontsize=8, frameon=False)
    save(figure, path, title)


def draw_dimensions(results: Results, space: Space, path: Path, title: str) -> None:
    """Draws the error against each dimension, in one panel per dimension, with the median for each value of a choice.

    Short and stopped trials have the error of an early epoch: they are drawn as crosses and excluded from the medians.
    """
    done = completed(results)
    rows = [row for row in space.dimensions if not row.fixed]
    columns = min(4, len(rows))
    lines = -(-len(rows) // columns)
    figure = Figure(figsize=(3 * columns, 0.4 + 2.5 * lines), dpi=150, layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel()
    for axes, row in zip(panels, rows, strict=False):
        active = [result for result in results if row.name in result["values"]]
        _draw_dimension(plain(axes), row, active, [result in done for result in active])
    for axes in panels[len(rows) :]:
        axes.set_visible(False)
    for axes in figure.axes:
        axes.yaxis.set_major_formatter("{x:g} %")
    figure.supylabel("error", fontsize=9)
    save(figure, path, title)


def _draw_dimension(axes: Any, row: Dimension, results: Results, is_completed: Sequence[bool]) -> None:
    errors, done = np.array([result["error"] for result in results]), np.array(is_completed, bool)
    values = [result["values"][row.name] for result in results]
    if row.ends is not None:
        _draw_trials(axes, np.array(values), errors, done)
        axes.set_xlim(*row.ends)  # first, since the ticks of a logarithmic axis depend on its range
        if row.logarithmic:
            logarithmic(axes)
    else:
        positions = np.array([row.values.index(value) for value in values], int)
        jitter = 0.12 * np.sin(np.arange(len(positions)) * 2.4)
        _draw_trials(axes, positions + jitter, errors, done)
        for position in sorted(set(positions[done].tolist())):
            median = np.median(errors[done & (positions == position)])
            axes.hlines(median, position - 0.3, position + 0.3, color=ACCENT)
        texts = [str(value) for value in row.values]
        rotated = sum(map(len, texts)) > 24
        axes.set_xticks(range(len(texts)), texts, rotation=30 if rotated else 0, ha="right" if rotated else "center")
        axes.set_xlim(-0.5, len(texts) - 0.5)
    axes.tick_params(labelsize=7, which="both")
    axes.set_xlabel(row.name, fontsize=9)


def _draw_trials(axes: Any, positions: np.ndarray, errors: np.ndarray, done: np.ndarray) -> None:
    axes.plot(positions[done], errors[done], ".", color=CALM)
    axes.plot(positions[~done], errors[~done], "x", color=FAINT, markersize=4)


def draw_curves(results: Results, folder: Path, path: Path, title: str) -> None:
    """Draws the error of each trial over its epochs, the better the darker; `results` must begin with the best."""
    figure = Figure(figsize=(7.6, 5), dpi=150, layout="constrained")
    axes = plain(figure.add_subplot())
    worst_first = results[::-1]
    for rank, result in enumerate(worst_first):
        rows = read_history(history_file(folder, result["trial"]))
        column = next((name for name in ("validation_error", "test_error") if rows and name in rows[0]), None)
        if column is None:
            continue
        best = rank == len(worst_first) - 1
        color = ACCENT if best else colormaps["Greys"](0.25 + 0.5 * rank / len(worst_first))
        label = f"trial {int(result['trial']) + 1}: {result['error']:.2f} %" if best else None
        epochs, errors = [row["epoch"] for row in rows], [row[column] for row in rows]
        axes.plot(
            epochs,
            errors,
            color=color,
            linewidth=1.8 if best else 1,
            marker="." if len(rows) < 4 else None,
            label=label,
        )
    axes.set_xlim(0.5, max(result["epochs"] for result in results) + 0.5)
    axes.set_xlabel("epoch")
    whole_numbers(axes.xaxis)
    axes.set_ylabel("error")
    axes.yaxis.set_major_formatter("{x:g} %")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)
    save(figure, path, title)


def draw_parallel(results: Results, space: Space, path: Path, title: str) -> None:
    """Draws each trial as a line through its values (parallel coordinates); better trials are darker.

    The line has a gap where a dimension is inactive.
    """
    rows = [row for row in space.dimensions if not row.fixed]
    figure = Figure(figsize=(max(6.4, 1.25 * len(rows)), 5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    errors = [result["error"] for result in results]
    scale, colors = Normalize(min(errors), max(errors) + 1e-9), colormaps["viridis_r"]
    for result in sorted(results, key=lambda result: -result["error"]):
        values = result["values"]
        heights = [_height(row, values[row.name]) if row.name in values else math.nan for row in rows]
        color = colors(1 - scale(result["error"]))
        axes.plot(range(len(rows)), heights, color=color, linewidth=1.2, alpha=0.8, marker=".", markersize=4)
    for position, row in enumerate(rows):
        axes.axvline(position, color=FAINT, linewidth=0.8, zorder=0)
        for value, height in _ticks(row):
            axes.annotate(
                value,
                (position, height),
                xytext=(4, 0),
                textcoords="offset points",
                fontsize=6,
                va="center",
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6},  # lines begin there, too
            )
    axes.set_xticks(range(len(rows)), [row.name for row in rows], rotation=30, ha="right", fontsize=8)
    axes.set_yticks([])
    axes.set_ylim(-0.05, 1.05)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(ScalarMappable(scale, colors.reversed()), ax=axes, shrink=0.8, label="error")
    bar.ax.yaxis.set_major_formatter("{x:g} %")
    save(figure, path, title)


def _height(row: Dimension, value: Any) -> float:
    if row.ends is None:
        return row.values.index(value) / max(1, len(row.values) - 1)
    low, high, value = (np.log(x) if row.logarithmic else x for x in (*row.ends, value))
    return float((value - low) / (high - low))


def _ticks(row: Dimension) -> list[tuple[str, float]]:
    values = row.values if row.ends is None else row.ends
    return [(f"{value:g}" if isinstance(value, float) else str(value), _height(row, value)) for value in values]
