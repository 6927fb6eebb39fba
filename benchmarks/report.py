"""Writes the page of benchmark results, `results/README.md`, with tables and pictures of `results/*.json`.

    python benchmarks/report.py [FOLDER]

A "note" that was added to a JSON file by hand is shown above its tables.
"""

from __future__ import annotations

import argparse
import json
import math
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from keras_resnet import drawing
from keras_resnet.files import write_atomically, write_text

RESULTS = Path(__file__).resolve().parent / "results"
BASES = {"inference": "torchvision, compiled", "training": "PyTorch, eager", "input_pipeline": "bare decode"}
FIGURES = {
    "build_seconds": "seconds to build",
    "first_step_seconds": "seconds of the first step",
    "step_milliseconds": "milliseconds per step",
    "mebibytes": "MiB added by training steps",
    "teraflop_a_second": "peak teraflop per second",
    "gigabytes_a_second": "peak GB per second",
    "gigaflop": "gigaflop per image",
    "megabytes": "MB per image",
    "least_microseconds": "minimum microseconds per image",
    "photographs_a_second": "photographs per second",
    "one_batch_a_second": "images per second, one batch repeated",
    "share": "speed on photographs as a share of that on one batch",
    "test_error": "% test error",
    "mirrored_test_error": "% test error, mirrored",
    "seconds": "seconds of training",
    "seconds_without_compilation": "seconds of training, without compilation",
}
PEAKS = ("teraflop_a_second", "gigabytes_a_second")  # of the machine, not of the network: in the tables, but not drawn
COLORS = {"tensorflow": "tab:orange", "jax": "tab:green", "torch": "tab:blue"}
STYLES = {
    "Keras's": ":",
    "rematerialized, in loops": (0, (5, 1, 1, 1, 1, 1)),
    "rematerialized": "-.",
    "in loops": "--",
    "compiled": "--",
}

Row = dict[str, Any]


def main(folder: Path = RESULTS) -> None:
    parts = ["# Benchmark results\n"]
    for path in sorted(folder.glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        if "results" in result and "benchmark" in result:
            parts += section(path, result)
    write_text(folder / "README.md", "\n".join(parts))


def section(path: Path, result: dict[str, Any]) -> Iterator[str]:
    """Section of the page on a result file: heading, machine, note, picture and tables."""
    versions = ", ".join(f"{package} {version}" for package, version in result["versions"].items())
    entire_runs = result["benchmark"] == "runs"
    kind = "Means" if entire_runs else "Medians"
    # Rows of an interrupted comparison may have fewer rounds than were requested.
    counts = [row.get("rounds", result["rounds"]) for row in result["results"]]
    fewest, most = min(counts), max(counts)
    count = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    rounds = f"{kind} of {count} interleaved rounds." if most > 1 else "One round."
    yield f"## {path.stem}\n"
    yield f"{result['processor']}; {versions}. {rounds}\n"
    if "note" in result:
        yield f"{result['note']}\n"
    base = BASES.get(result["benchmark"])
    rows = [with_means(row) for row in result["results"]] if entire_runs else result["results"]
    cases = group_by_case(rows, by_depth=base is None)
    picture = path.with_suffix(".png")
    draw = draw_shares if base else draw_by_depth
    write_atomically(picture, lambda temporary: draw(cases, base, temporary, path.stem))
    yield f"![{path.stem}]({picture.name})\n"
    for case, rows in cases.items():
        if base:
            yield f"{case}: milliseconds per image (in brackets, as a share of {base})\n"
            yield from times_table(rows, base)
            yield ""
        else:
            for figure in FIGURES:
                if rows_with_figure := [row for row in rows if figure in row]:
                    yield f"{case}: {FIGURES[figure]}\n"
                    yield from networks_table(rows_with_figure, figure)
                    yield ""


def with_means(row: Row) -> Row:
    """A row in which the mean of each figure takes the place of its median."""
    return {**row, **{figure: row[f"{figure}_mean"] for figure in FIGURES if figure in row}}


def group_by_case(rows: list[Row], by_depth: bool) -> dict[str, list[Row]]:
    """Groups rows by the title of their case.

    Args:
        rows: the rows.
        by_depth: networks of several depths share a case, which is then named after the batch size, not the network.
    """
    cases: dict[str, list[Row]] = {}
    for row in rows:
        words = [f"batches of {row['batch']}"] if by_depth else [row.get("what") or row["model"]]
        words += [f"{row['image_size']}x{row['image_size']} pixels"] if "image_size" in row else []
        words += [f"{row['cores']} core{'s' * (row['cores'] > 1)}"]
        words += [row["recipe"]] if "recipe" in row else []
        words += [row["precision"]] if "precision" in row else []
        cases.setdefault(", ".join(words), []).append(row)
    return cases


def times_table(rows: list[Row], base: str) -> Iterator[str]:
    """Table with a line per contender and a column per batch size, sorted by the time at the largest batch size."""
    times = {(row["contender"], row["batch"]): row["milliseconds"] for row in rows}
    batches = sorted({row["batch"] for row in rows})
    names = sorted({row["contender"] for row in rows}, key=lambda name: times.get((name, batches[-1]), math.inf))
    yield f"| | {' | '.join(f'batch {batch}' for batch in batches)} |"
    yield "|---|" + "---:|" * len(batches)
    for name in names:
        cells = []
        for batch in batches:
            if (name, batch) not in times:  # such as where it ran out of memory
                cells.append("")
                continue
            share = f" ({times[name, batch] / times[base, batch]:.2f})" if (base, batch) in times else ""
            cells.append(f"{times[name, batch]:.1f}{share}")
        yield f"| {name} | {' | '.join(cells)} |"


def networks_table(rows: list[Row], figure: str) -> Iterator[str]:
    """Table with a line per contender and a column per network, and one for the increase per weighted layer.

    The number after ± is the standard deviation over the rounds.
    """
    values = {(row["contender"], row["depth"]): row[figure] for row in rows}
    deviations = {(row["contender"], row["depth"]): row.get(f"{figure}_deviation") for row in rows}
    networks = dict(sorted({row["depth"]: row["model"] for row in rows}.items()))
    first, last = min(networks), max(networks)
    yield f"| | {' | '.join(networks.values())} |" + (" per additional layer |" if last > first else "")
    yield "|---|" + "---:|" * (len(networks) + (last > first))
    for name in dict.fromkeys(row["contender"] for row in rows):
        cells = [cell(values.get((name, depth)), deviations.get((name, depth))) for depth in networks]
        if last > first:
            ends = [values.get((name, depth)) for depth in (first, last)]
            cells.append("" if None in ends else format_number((ends[1] - ends[0]) / (last - first), 2))
        yield f"| {name} | {' | '.join(cells)} |"


def cell(value: float | None, deviation: float | None) -> str:
    """Text of a table's cell: a figure, and its standard deviation if there is one."""
    if value is None:
        return ""
    return format_number(value, 3) + (f" ± {format_number(deviation, 2)}" if deviation is not None else "")


def format_number(value: float, count: int) -> str:
    """Formats a number with `count` significant figures, but never rounds digits before the decimal point."""
    return f"{value:,.{count}g}" if abs(value) < 10**count else f"{value:,.0f}"


def color(name: str) -> str:
    """Color of a contender: that of its backend, or grey for a peer."""
    return next((color for backend, color in COLORS.items() if f", {backend}" in name), "tab:gray")


def draw_shares(cases: dict[str, list[Row]], base: str, path: Path, title: str) -> None:
    """Draws a panel per case and batch size with the contenders' times; a dotted line marks the base's."""
    panels = [(case, batch) for case, rows in cases.items() for batch in sorted({row["batch"] for row in rows})]
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    most = max(len({row["contender"] for row in rows}) for rows in cases.values())
    figure = Figure(figsize=(2 + 4 * columns, 0.6 + lines * (0.8 + 0.22 * most)), layout="constrained", dpi=110)
    for number, (case, batch) in enumerate(panels):
        axes = drawing.plain(figure.add_subplot(lines, columns, number + 1))
        rows = [row for row in cases[case] if row["batch"] == batch]
        rows.sort(key=lambda row: -row["milliseconds"])
        names, values = [row["contender"] for row in rows], [row["milliseconds"] for row in rows]
        below = [row["milliseconds"] - row["from"] for row in rows]
        above = [row["to"] - row["milliseconds"] for row in rows]
        axes.barh(names, values, color=[color(name) for name in names], xerr=[below, above], error_kw={"lw": 0.8})
        axes.tick_params(labelsize=7)
        axes.set_xlabel("milliseconds per image", fontsize=8)
        axes.set_title(f"{case},\nbatch {batch}", fontsize=8)
        for row in rows:
            if row["contender"] == base:
                axes.axvline(row["milliseconds"], color="black", lw=0.8, ls=":")
    marked = any(row["contender"] == base for rows in cases.values() for row in rows)
    drawing.save(figure, path, f"{title}; dotted: {base}" if marked else title)


def draw_by_depth(cases: dict[str, list[Row]], _: None, path: Path, title: str) -> None:
    """Draws a panel per case and figure: a line per contender over the depth, or bars if there is only one network."""
    drawn = [figure for figure in FIGURES if figure not in PEAKS]
    panels = [(case, figure) for case, rows in cases.items() for figure in drawn if any(figure in row for row in rows)]
    picture = Figure(figsize=(3 + 4.4 * len(panels), 4.4), layout="constrained", dpi=110)
    for number, (case, figure) in enumerate(panels):
        axes = drawing.plain(picture.add_subplot(1, len(panels), number + 1))
        rows = sorted((row for row in cases[case] if figure in row), key=lambda row: row["depth"])
        if rows[0]["depth"] == rows[-1]["depth"]:
            rows.sort(key=lambda row: -row[figure])
            names, values = [row["contender"] for row in rows], [row[figure] for row in rows]
            axes.barh(names, values, color=[color(name) for name in names])
            axes.tick_params(labelsize=7)
            axes.set_xlabel(FIGURES[figure])
            axes.set_title(f"{rows[0]['model']}\n{textwrap.fill(case, 60)}", fontsize=8)
            continue
        for name in dict.fromkeys(row["contender"] for row in cases[case] if figure in row):
            points = [(row["depth"], row[figure]) for row in rows if row["contender"] == name]
            style = next((style for word, style in STYLES.items() if word in name), "-")
            axes.plot(*zip(*points, strict=True), color=color(name), ls=style, lw=1.2, marker=".", label=name)
        axes.set_yscale("log")
        axes.set_xlabel("depth")
        axes.set_ylabel(FIGURES[figure])
        axes.set_title(case, fontsize=8)
        if number == len(panels) - 1:
            axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8, edgecolor="none")
    drawing.save(picture, path, title)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER", nargs="?", type=Path, default=RESULTS)
    main(parser.parse_args().folder)
