"""The pictures of a search."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..drawing import ACCENT, CALM, FAINT, INK, logarithmic, plain, save
from .dimensions import Dimension
from .results import history_file
from .space import Space

COSTS = {"macs": ("multiply-adds of an image, in millions", 1e6), "latency": ("milliseconds an image", 1.0)}
Results = Sequence[Mapping[str, Any]]


def whole(results: Results) -> list[Mapping[str, Any]]:
    """The trials that ended, of the largest budget that any had."""
    most = max((result["budget"] for result in results), default=0)
    return [result for result in results if result["status"] == "done" and result["budget"] == most]


def front(results: Results, cost: str = "macs") -> list[Mapping[str, Any]]:
    """The trials that no other beats in both error and cost ("macs" or "latency"), the cheapest first."""
    best: list[Mapping[str, Any]] = []
    for result in sorted(results, key=lambda result: (result[cost], result["error"])):
        if not best or result["error"] < best[-1]["error"]:
            best.append(result)
    return best


def draw_front(results: Results, path: Path, title: str, cost: str = "macs", target: float | None = None) -> None:
    """Draws error against cost ("macs" or "latency"), the front of those that are best at theirs, and the target."""
    what, unit = COSTS[cost]
    results = [result for result in results if result.get(cost)]
    figure = Figure(figsize=(7.6, 5), dpi=150, layout="constrained")
    axes = plain(figure.add_subplot())
    done = whole(results)
    others = [result for result in results if result not in done]
    for some, label, marker, color in (
        (done, "trial", "o", CALM),
        (others, "short, stopped early, or came to nothing", "x", FAINT),
    ):
        if some:
            costs, errors = [row[cost] / unit for row in some], [row["error"] for row in some]
            axes.scatter(costs, errors, marker=marker, color=color, s=28, label=label)
    best = front(done, cost)
    if best:
        costs, errors = [row[cost] / unit for row in best], [row["error"] for row in best]
        axes.step(costs, errors, where="post", color=ACCENT, linewidth=1.4, label="Pareto front")
        axes.plot(costs, errors, "o", color=ACCENT, markersize=4)
    if target:
        axes.axvline(target / unit, color=INK, linewidth=1, linestyle=":", label="target")
    logarithmic(axes)
    axes.set_xlabel(what)
    axes.set_ylabel("error")
    axes.yaxis.set_major_formatter("{x:g} %")
    axes.legend(fontsize=8, frameon=False)
    save(figure, path, title)


def draw_dimensions(results: Results, space: Space, path: Path, title: str) -> None:
    """Draws the error against each dimension, a panel each; of a choice, the median of each value too.

    Trials that were short, or stopped, have the error of an early epoch: they are crosses, and in no median.
    """
    ended = whole(results)
    rows = [row for row in space.dimensions if not row.fixed]
    columns = min(4, len(rows))
    lines = -(-len(rows) // columns)
    figure = Figure(figsize=(3 * columns, 0.4 + 2.5 * lines), dpi=150, layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True).flat
    for axes, row in zip(panels, rows, strict=False):
        some = [result for result in results if row.name in result["values"]]
        _draw_dimension(plain(axes), row, some, [result in ended for result in some])
    for axes in list(panels)[len(rows) :]:
        axes.set_visible(False)
    for axes in figure.axes:
        axes.yaxis.set_major_formatter("{x:g} %")
    save(figure, path, title)


def _draw_dimension(axes: Any, row: Dimension, results: Results, ended: Sequence[bool]) -> None:
    errors, done = np.array([result["error"] for result in results]), np.array(ended, bool)
    values = [result["values"][row.name] for result in results]
    if row.low is not None:
        _draw_trials(axes, np.array(values), errors, done)
        if row.logarithmic:
            logarithmic(axes)
        axes.set_xlim(row.low, row.high)
    else:
        places = np.array([row.values.index(value) for value in values], int)
        jitter = 0.12 * np.sin(np.arange(len(places)) * 2.4)
        _draw_trials(axes, places + jitter, errors, done)
        for place in sorted(set(places[done].tolist())):
            axes.hlines(np.median(errors[done & (places == place)]), place - 0.3, place + 0.3, color=ACCENT)
        texts = [str(value) for value in row.values]
        turned = sum(map(len, texts)) > 24
        axes.set_xticks(range(len(texts)), texts, rotation=30 if turned else 0, ha="right" if turned else "center")
        axes.set_xlim(-0.5, len(texts) - 0.5)
    axes.tick_params(labelsize=7, which="both")
    axes.set_xlabel(row.name, fontsize=9)


def _draw_trials(axes: Any, places: np.ndarray, errors: np.ndarray, done: np.ndarray) -> None:
    axes.plot(places[done], errors[done], ".", color=CALM)
    axes.plot(places[~done], errors[~done], "x", color=FAINT, markersize=4)


def draw_curves(results: Results, folder: Path, path: Path, title: str) -> None:
    """Draws the error of every trial, the best first, over its epochs, the better the darker."""
    figure = Figure(figsize=(7.6, 5), dpi=150, layout="constrained")
    axes = plain(figure.add_subplot())
    ranked = results[::-1]
    for place, result in enumerate(ranked):
        history = history_file(folder, result["trial"])
        if not history.is_file():
            continue
        with history.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        column = next((name for name in ("validation_error", "test_error") if rows and name in rows[0]), None)
        if column is None:
            continue
        best = place == len(ranked) - 1
        color = ACCENT if best else colormaps["Greys"](0.25 + 0.5 * place / len(ranked))
        label = f"trial {int(result['trial']) + 1}: {result['error']:.2f} %" if best else None
        epochs, errors = [int(row["epoch"]) for row in rows], [float(row[column]) for row in rows]
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
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("error")
    axes.yaxis.set_major_formatter("{x:g} %")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)
    save(figure, path, title)


def draw_parallel(results: Results, space: Space, path: Path, title: str) -> None:
    """Draws every trial as a line through its values, the better the darker (parallel coordinates)."""
    rows = [row for row in space.dimensions if not row.fixed]
    figure = Figure(figsize=(max(6.4, 1.25 * len(rows)), 5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    errors = [result["error"] for result in results]
    scale, colors = Normalize(min(errors), max(errors) + 1e-9), colormaps["viridis_r"]
    for result in sorted(results, key=lambda result: -result["error"]):
        heights = [_height(row, result["values"].get(row.name, row.default)) for row in rows]
        color = colors(1 - scale(result["error"]))
        axes.plot(range(len(rows)), heights, color=color, linewidth=1.2, alpha=0.8)
    for place, row in enumerate(rows):
        axes.axvline(place, color=FAINT, linewidth=0.8, zorder=0)
        for value, height in _ticks(row):
            axes.annotate(value, (place, height), xytext=(3, 0), textcoords="offset points", fontsize=6, va="center")
    axes.set_xticks(range(len(rows)), [row.name for row in rows], rotation=30, ha="right", fontsize=8)
    axes.set_yticks([])
    axes.set_ylim(-0.05, 1.05)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(ScalarMappable(scale, colors.reversed()), ax=axes, shrink=0.8, label="error")
    bar.ax.yaxis.set_major_formatter("{x:g} %")
    save(figure, path, title)


def _height(row: Dimension, value: Any) -> float:
    if row.low is None:
        return row.values.index(value) / max(1, len(row.values) - 1)
    low, high, value = (np.log(x) if row.logarithmic else x for x in (row.low, row.high, value))
    return float((value - low) / (high - low))


def _ticks(row: Dimension) -> list[tuple[str, float]]:
    values = row.values if row.low is None else (row.low, row.high)
    return [(f"{value:g}" if isinstance(value, float) else str(value), _height(row, value)) for value in values]
