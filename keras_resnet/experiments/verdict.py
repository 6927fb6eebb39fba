"""Results of a row beside what the paper prints, and what that comes to in plain words."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from typing import Any

from .rows import Published, Row

SPREAD = 0.2  # percent: about the deviation over runs that He et al. 2016 print, where a row prints none
CLEAR = 2 * SPREAD  # by which two rows must differ for their order to say something


def summarize(row: Row, results: Sequence[dict[str, Any]], scaled: str) -> dict[str, Any]:
    """A line of a report.

    Args:
        row: of the experiment.
        results: of its runs, as `runs.Run.result` has them.
        scaled: in what the runs are smaller than the paper's; empty if they are not.

    Returns:
        "row", "model", "published" (as printed), "runs", "errors" (of each; 100 for a run that diverged), "median",
        "mean", "deviation" (of the sample; None of one run), "train_error" (median) and "verdict".
    """
    errors = [100.0 if result["error"] is None else result["error"] for result in results]
    train = [result["summary"]["train_error"] for result in results if result["summary"]]
    line = {
        "row": row.name,
        "model": row.model,
        "published": str(row.published),
        "runs": len(errors),
        "errors": errors,
        "median": statistics.median(errors) if errors else None,
        "mean": statistics.mean(errors) if errors else None,
        "deviation": statistics.stdev(errors) if len(errors) > 1 else None,
        "train_error": statistics.median(train) if train else None,
    }
    return {**line, "verdict": _verdict(row.published, line["median"], scaled)}


def _verdict(published: Published, median: float | None, scaled: str) -> str:
    if median is None:
        return "not run"
    if scaled:
        return "not comparable: scaled"
    if published.fail:
        told = f"{median:.2f} %, where the paper's is above {published.above:.0f} %"
        return "reproduced: it fails here too" if median > published.above else f"not reproduced: {told}"
    if published.expected is None:
        return "the paper prints no number"
    away = median - published.expected
    spread = 2 * (published.deviation or SPREAD)
    if abs(away) <= spread:
        return f"reproduced: within {spread:.2f} of the paper's"
    return f"not reproduced: {abs(away):.2f} {'above' if away > 0 else 'below'} the paper's"


def order(lines: Sequence[dict[str, Any]], rows: Sequence[Row]) -> tuple[int, int]:
    """How far the order of the rows is the paper's.

    A row that fails is worse than any that does not. Pairs with a row that was not run, or of two that fail, are left
    out, and so are ties: pairs of one and the same error here, which say nothing of an order.

    Returns:
        In how many pairs the same row is better here, and how many pairs differ clearly in the paper and somehow here.
    """
    placed = [
        (100.0 if row.published.fail else row.published.expected, line["median"])
        for row, line in zip(rows, lines, strict=True)
        if line["median"] is not None and (row.published.fail or row.published.expected is not None)
    ]
    apart = [(one[0] - other[0], one[1] - other[1]) for one, other in itertools.combinations(placed, 2)]
    clear = [(there, here) for there, here in apart if abs(there) >= CLEAR and here != 0]
    return sum((there > 0) == (here > 0) for there, here in clear), len(clear)
