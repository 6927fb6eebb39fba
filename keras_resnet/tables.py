"""Tables as plain text, Markdown or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from .files import first_line


def text_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int], *, markdown: bool = False
) -> str:
    """Formats rows in aligned columns.

    Args:
        headings: one per column.
        rows: one cell per column each.
        right: indices of the columns to align to the right, such as numbers.
        markdown: whether to write a Markdown table, instead of columns separated by two spaces.

    Returns:
        A line for the headings and one for each row; in Markdown, also the line between them.
    """
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |" if markdown else "  ".join(padded).rstrip()

    rule = ["-" * (width - 1) + (":" if index in right else "-") for index, width in enumerate(widths)]
    return "\n".join(line(cells) for cells in (headings, *([rule] if markdown else []), *rows))


def csv_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Formats one or more rows, which have the same columns, as CSV; the cell of a value that is None is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def read_csv(path: Path, remedy: str) -> list[dict[str, float]]:
    """Reads a CSV file of numbers, such as a run's `history.csv`; returns no rows if there is no such file.

    Args:
        path: the file.
        remedy: a sentence that says what to do if the file is damaged, for the error.

    Raises:
        ValueError: a line ends too soon or too late, or the file does not consist of numbers.
    """
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [{name: float(number) for name, number in row.items()} for row in csv.DictReader(file)]
    except (TypeError, ValueError, csv.Error) as error:
        raise ValueError(f"{str(path)!r} is damaged: {first_line(error)} {remedy}") from error
