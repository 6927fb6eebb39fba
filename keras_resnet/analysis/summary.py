"""A table of the networks' architecture, size and cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..models.architectures import Architecture
from ..models.complexity import count
from ..tables import text_table

COLUMNS = {
    "network": "network",
    "layers": "layers",
    "unit": "unit",
    "order": "order",
    "shortcut": "shortcut",
    "units": "units",
    "parameters": "parameters",
    "paper_parameters": "paper",
    "macs": "MACs",
    "paper_macs": "paper",
    "latency": "ms",  # only if it was measured
}


def describe(
    architecture: Architecture,
    choices: dict[str, Any] | None = None,
    classes: int | None = None,
    image_size: int | None = None,
) -> dict[str, Any]:
    """Returns one network as a row of the table.

    Args:
        architecture: a named network.
        choices: fields of `Spec` that differ from the named network's.
        classes: number of classes; None for the network's own.
        image_size: side of the images in pixels; None for the size its stem is designed for.

    Returns:
        The keys of `COLUMNS` but for "latency", and "stage_outputs", the output shape of each stage. The paper's
        numbers are "" where it prints none, or if the network differs from the paper's.
    """
    spec = architecture.respec(**(choices or {}))
    cost = count(spec, classes or architecture.classes, (image_size, image_size, 3) if image_size else None)
    same = spec == architecture.spec and classes in (None, architecture.classes) and image_size is None
    published = architecture.published if same else {}
    return {
        "network": architecture.__name__,
        "layers": cost.layers,
        "unit": spec.unit,
        "order": spec.order,
        "shortcut": spec.shortcut or "none",
        "units": "-".join(map(str, spec.stage_units)),
        "parameters": cost.parameters,
        "paper_parameters": published.get("parameters", ""),
        "macs": cost.macs,
        "paper_macs": published.get("macs", ""),
        "stage_outputs": [list(shape) for shape in cost.output_shapes],
    }


def table(rows: Sequence[dict[str, Any]], *, markdown: bool = False) -> str:
    """Formats rows of `describe` as text in columns, or as a Markdown table."""
    columns = {column: head for column, head in COLUMNS.items() if any(column in row for row in rows)}
    body = [[_text(row[column]) for column in columns] for row in rows]
    right = [index for index, column in enumerate(columns) if column in ("layers", "parameters", "macs", "latency")]
    return text_table(list(columns.values()), body, right, markdown=markdown)


def _text(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}" if isinstance(value, float) else str(value)
