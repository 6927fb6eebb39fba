"""Compares the results of a row with the published ones, and states the verdict in words."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from typing import Any

from .rows import Published, Row

SPREAD = 0.2  # percent: assumed deviation of a row without one; about what He et al. 2016 print for others
CLEAR = 2 * SPREAD  # difference of two published errors from which their order counts


def summarize(row: Row, results: Sequence[dict[str, Any]], scaled: str) -> dict[str, Any]:
    """Returns a row of the report.

    Args:
        row: the row of the experiment.
        results: results of its runs, as returned by `runs.Run.result`.
        scaled: how the runs are scaled down; empty if they have the paper's size.

    Returns:
        "row", "model", "network" (`Row.network`), "published" (as printed), "runs", "diverged" (how many of them),
        "errors" (one per run; 100 if it diverged), "median", "mean" and "deviation" (of the sample) of the runs that
        did not diverge (None for fewer than one and two), "top5_error" (median; None where it was not measured),
        "train_error" (median) and "verdict".
        Medians are those of all runs, with 100 for each that diverged, and 100 if half of the runs did.
    """
    completed = [result["error"] for result in results if result["error"] is not None]
    errors = [100.0 if result["error"] is None else result["error"] for result in results]
    # None where it was not measured.
    top5: list[Any] = [100.0 if result["error"] is None else result.get("top5_error") for result in results]
    train = [100.0 if result["error"] is None else result["summary"]["train_error"] for result in results]
    # The number halfway between an error and 100 would be no one's error.
    median = statistics.median if len(completed) == len(errors) else statistics.median_high
    middle = median(errors) if errors else None
    return {
        "row": row.name,
        "model": row.model,
        "network": row.network,
        "published": str(row.published),
        "runs": len(errors),
        "diverged": len(errors) - len(completed),
        "errors": errors,
        "median": middle,
        "mean": statistics.mean(completed) if completed else None,
        "deviation": statistics.stdev(completed) if len(completed) > 1 else None,
        "top5_error": median(top5) if top5 and None not in top5 else None,
        "train_error": median(train) if train else None,
        "verdict": _verdict(row.published, middle, scaled),
    }


def _verdict(published: Published, median: float | None, scaled: str) -> str:
    if median is None:
        return "not run"
    if scaled:
        return "not comparable: scaled"
    if published.fail:
        if median > published.above:
            return "reproduced: it fails as in the paper"
        return f"not reproduced: {median:.2f} %, the paper's is above {published.above:.0f} %"
    if published.expected is None:
        return "the paper prints no number"
    difference = _difference(median, published.expected)
    tolerance = 2 * (published.deviation or SPREAD)
    if abs(difference) <= tolerance:
        return f"reproduced: within {tolerance:.2f} of the paper's"
    return f"not reproduced: {abs(difference):.2f} {'above' if difference > 0 else 'below'} the paper's"


def _difference(one: float, other: float) -> float:
    """Returns one - other without the rounding error, so that 9.15 is within 0.4 of 8.75."""
    return round(one - other, 6)


def order(lines: Sequence[dict[str, Any]], rows: Sequence[Row]) -> tuple[int, int]:
    """Counts the pairs of rows whose order agrees with the paper's.

    A row that fails in the paper is worse than any that does not. Left out are pairs with a row that was not run or has
    no published number, pairs of two rows that fail in the paper, and pairs with equal errors in the runs.

    Returns:
        The number of pairs in which the same row is better as in the paper, and the number of pairs counted: those
        that differ by at least `CLEAR` in the paper and at all in the runs.
    """
    pairs = [
        (100.0 if row.published.fail else row.published.expected, line["median"])
        for row, line in zip(rows, lines, strict=True)
        if line["median"] is not None and (row.published.fail or row.published.expected is not None)
    ]
    differences = [tuple(map(_difference, one, other)) for one, other in itertools.combinations(pairs, 2)]
    clear = [(published, measured) for published, measured in differences if abs(published) >= CLEAR and measured != 0]
    return sum((published > 0) == (measured > 0) for published, measured in clear), len(clear)


def degradation(lines: Sequence[dict[str, Any]], names: Sequence[str]) -> tuple[int, int]:
    """Counts the pairs of rows in which the later one has a higher training error, as in the paper.

    Args:
        lines: rows of the report, as returned by `summarize`.
        names: names of rows in the order in which the training error rises in the paper.

    Returns:
        The number of pairs in which it rises, and the number of pairs of rows that were run.
    """
    errors = {line["row"]: line["train_error"] for line in lines}
    ordered = [errors[name] for name in names if errors.get(name) is not None]
    pairs = list(itertools.combinations(ordered, 2))
    return sum(shallower < deeper for shallower, deeper in pairs), len(pairs)
