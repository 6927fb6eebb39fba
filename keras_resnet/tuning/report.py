"""Report of a search: leaderboard, plots and the best recipe.

    leaderboard.csv, leaderboard.html     all trials, the best first
    front.png, dimensions.png, curves.png, parallel.png; latency.png if it was measured
    best_recipe.json                      the recipe of the best trial, for `keras-resnet train --recipe`

The HTML file embeds its plots and needs no network connection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import pages
from ..files import read_json, write_atomically, write_text
from ..tables import csv_table
from .pictures import draw_curves, draw_dimensions, draw_front, draw_parallel
from .results import rank, results, trial_folder
from .space import Space, read_dimension
from .study import FILE

COLUMNS = (
    *("place", "trial", "score", "error", "status", "epochs", "budget"),
    *("parameters", "macs", "latency", "seconds"),
)
# Of the page, where they differ from the names in the CSV file, and the digits of numbers that are not integers.
HEADINGS = {
    "score": "score, %",
    "error": "error, %",
    "budget": "budget, ninths",
    "macs": "multiply-adds",
    "latency": "latency, ms",
}
DIGITS = {"score": ".2f", "error": ".2f", "latency": ".2f", "seconds": ",.0f"}


def write_report(folder: str | Path) -> dict[str, Any]:
    """Writes the report of the trials so far; without a best recipe if no trial was completed.

    Args:
        folder: folder of the search.

    Returns:
        The `result.json` of the best trial.

    Raises:
        ValueError: the folder contains no search, a file is damaged, or no trial was completed.
    """
    folder = Path(folder)
    if not (folder / FILE).is_file():
        raise ValueError(f"{str(folder)!r} is not the folder of a search: it contains no search.json.")
    study, by_number = read_json(folder / FILE, "Give the folder of another search."), results(folder)
    ranked = sorted(by_number, key=rank)
    if not ranked:
        raise ValueError(f"No trial of {str(folder)!r} has ended yet.")
    space = Space(tuple(read_dimension(name, text) for name, text in study["space"].items()))
    title = f"{study['tuner']} search on {study['base']['dataset']}, {len(ranked)} trials"
    pictures = {
        "front": lambda path: draw_front(ranked, path, title, "macs", study.get("target_macs")),
        "dimensions": lambda path: draw_dimensions(ranked, space, path, title),
        "curves": lambda path: draw_curves(ranked, folder, path, title),
        "parallel": lambda path: draw_parallel(ranked, space, path, title),
    }
    if any(result.get("latency") for result in ranked):
        pictures["latency"] = lambda path: draw_front(ranked, path, title, "latency", study.get("target_latency"))
    for name, draw in pictures.items():
        write_atomically(folder / f"{name}.png", draw)
    rows = _rows(ranked, space)
    write_text(folder / "leaderboard.csv", csv_table(rows))
    files = [folder / f"{name}.png" for name in pictures]
    write_text(folder / "leaderboard.html", _page(rows, title, files))
    best = ranked[0]
    if best["status"] != "done":
        raise ValueError(
            f"No trial of {str(folder)!r} was completed. The last, trial {int(by_number[-1]['trial']) + 1}: "
            f"{by_number[-1]['status']}"
        )
    recipe = trial_folder(folder, best["trial"]) / "recipe.json"
    write_text(folder / "best_recipe.json", recipe.read_text(encoding="utf-8"))
    return best


def _rows(ranked: Sequence[Mapping[str, Any]], space: Space) -> list[dict[str, Any]]:
    """Returns the rows of the leaderboard; a dimension that was inactive in a trial is None."""
    names = [row.name for row in space.dimensions]
    return [
        {
            **{column: result.get(column) for column in COLUMNS},
            "place": place,
            "trial": int(result["trial"]) + 1,  # counted from 1, as the search prints it; its folder counts from 0
            **{name: result["values"].get(name) for name in names},
        }
        for place, result in enumerate(ranked, start=1)
    ]


def _page(rows: Sequence[Mapping[str, Any]], title: str, pictures: Sequence[Path]) -> str:
    shown = [column for column in rows[0] if any(row[column] is not None for row in rows)]
    if all(row["score"] == row["error"] for row in rows):  # no trial was penalised
        shown.remove("score")
    if all(row["budget"] == row["epochs"] for row in rows):  # else it is a share of the images, or of their size
        shown.remove("budget")
    headings = [HEADINGS.get(column, column) for column in shown]
    board = pages.table(headings, (pages.row(_cell(row[column], column) for column in shown) for row in rows))
    images = (pages.image(path, path.stem) for path in pictures)
    return pages.page(title, [pages.element("h1", title), board, *images])


def _cell(value: Any, column: str) -> str:
    if value is None or isinstance(value, bool | str):
        return pages.element("td", "" if value is None else value)
    digits = "," if isinstance(value, int) else DIGITS.get(column, ".4g")
    return pages.element("td", format(value, digits), "number")
