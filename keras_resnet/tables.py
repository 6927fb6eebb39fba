"""Tables as text."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def text_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int], *, markdown: bool = False
) -> str:
    """Rows in aligned columns.

    Args:
        headings: one a column.
        rows: a cell a column.
        right: the places of the columns that are aligned to the right, as numbers are.
        markdown: write a table as Markdown has it, and not plain columns two spaces apart.

    Returns:
        A line for the headings and for each row, and in Markdown the line between them.
    """
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |" if markdown else "  ".join(padded).rstrip()

    rule = ["-" * (width - 1) + (":" if place in right else "-") for place, width in enumerate(widths)]
    return "\n".join(line(cells) for cells in (headings, *([rule] if markdown else []), *rows))
