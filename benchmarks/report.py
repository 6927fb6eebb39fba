"""Tables and pictures of what the benchmarks on the harness have measured: `results/*.json` as `results/README.md`.

python benchmarks/report.py [FOLDER]

A "note" that somebody has put into a file stands above its tables.
"""

from __future__ import annotations

import json
import math
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from keras_resnet import drawing
from keras_resnet.saving import write_atomically, write_text

RESULTS = Path(__file__).resolve().parent / "results"
BASES = {"inference": "torchvision, compiled", "training": "PyTorch, eager", "input_pipeline": "bare decode"}
FIGURES = {
    "build_seconds": "seconds to build",
    "first_step_seconds": "seconds of the first step",
    "step_milliseconds": "milliseconds of a step",
    "mebibytes": "MiB that steps add",
    "teraflop_a_second": "teraflop a second at best",
    "gigabytes_a_second": "GB a second at best",
    "gigaflop": "gigaflop an image",
    "megabytes": "MB an image",
    "least_microseconds": "microseconds an image at least",
    "photographs_a_second": "photographs a second",
    "one_batch_a_second": "images a second of one batch",
    "share": "share of the former in the latter",
    "test_error": "% test error",
    "mirrored_test_error": "% test error, mirrored",
    "seconds": "seconds of training",
    "seconds_without_compilation": "seconds of training, without compilation",
}
PEAKS = ("teraflop_a_second", "gigabytes_a_second")  # of the machine, whatever the network: told, and not drawn
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
    parts = ["# What was measured\n"]
    for path in sorted(folder.glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        if "results" in result and "benchmark" in result:
            parts += section(path, result)
    write_text(folder / "README.md", "\n".join(parts))


def section(path: Path, result: dict[str, Any]) -> Iterator[str]:
    """A file's heading, machine, note, picture and tables."""
    versions = ", ".join(f"{package} {version}" for package, version in result["versions"].items())
    whole = result["benchmark"] == "runs"
    kind = "Means" if whole else "Medians"
    counts = [row.get("rounds", result["rounds"]) for row in result["results"]]  # of some fewer than were asked for
    few, many = min(counts), max(counts)
    turns = f"{kind} of {few if few == many else f'{few} to {many}'} rounds in turns." if many > 1 else "One round."
    yield f"## {path.stem}\n"
    yield f"{result['processor']}; {versions}. {turns}\n"
    if "note" in result:
        yield f"{result['note']}\n"
    base = BASES.get(result["benchmark"])
    rows = [means(row) for row in result["results"]] if whole else result["results"]
    cases = in_cases(rows, by_depth=base is None)
    picture = path.with_suffix(".png")
    draw = draw_shares if base else draw_by_depth
    write_atomically(picture, lambda temporary: draw(cases, base, temporary, path.stem))
    yield f"![{path.stem}]({picture.name})\n"
    for case, rows in cases.items():
        if base:
            yield f"{case}: milliseconds an image, as a share of {base}\n"
            yield from times(rows, base)
            yield ""
        else:
            for figure in FIGURES:
                if having := [row for row in rows if figure in row]:
                    yield f"{case}: {FIGURES[figure]}\n"
                    yield from by_network(having, figure)
                    yield ""


def means(row: Row) -> Row:
    """A row that holds each figure's mean in the place of its median."""
    return {**row, **{figure: row[f"{figure}_mean"] for figure in FIGURES if figure in row}}


def in_cases(rows: list[Row], by_depth: bool) -> dict[str, list[Row]]:
    """The rows of each case, by its name: what is timed, or, of comparisons of networks, what they have in common."""
    cases: dict[str, list[Row]] = {}
    for row in rows:
        words = [f"batches of {row['batch']}"] if by_depth else [row.get("what") or row["model"]]
        words += [f"{row['image_size']}x{row['image_size']} pixels"] if "image_size" in row else []
        words += [f"{row['cores']} core{'s' * (row['cores'] > 1)}"]
        words += [row["recipe"]] if "recipe" in row else []
        words += [row["precision"]] if "precision" in row else []
        cases.setdefault(", ".join(words), []).append(row)
    return cases


def times(rows: list[Row], base: str) -> Iterator[str]:
    """A line a contender, a column a batch size, the fastest at the largest first."""
    found = {(row["contender"], row["batch"]): row["milliseconds"] for row in rows}
    batches = sorted({row["batch"] for row in rows})
    names = sorted({row["contender"] for row in rows}, key=lambda name: found.get((name, batches[-1]), math.inf))
    yield f"| | {' | '.join(f'batch {batch}' for batch in batches)} |"
    yield "|---|" + "---:|" * len(batches)
    for name in names:
        cells = []
        for batch in batches:
            if (name, batch) not in found:  # it had no memory for that
                cells.append("")
                continue
            share = f" ({found[name, batch] / found[base, batch]:.2f})" if (base, batch) in found else ""
            cells.append(f"{found[name, batch]:.1f}{share}")
        yield f"| {name} | {' | '.join(cells)} |"


def by_network(rows: list[Row], figure: str) -> Iterator[str]:
    """A line a contender, a column a network, and what each weighted layer adds; behind ±, rounds' deviation."""
    found = {(row["contender"], row["depth"]): row[figure] for row in rows}
    spread = {(row["contender"], row["depth"]): row.get(f"{figure}_deviation") for row in rows}
    networks = dict(sorted({row["depth"]: row["model"] for row in rows}.items()))
    first, last = min(networks), max(networks)
    yield f"| | {' | '.join(networks.values())} |" + (" a layer more |" if last > first else "")
    yield "|---|" + "---:|" * (len(networks) + (last > first))
    for name in dict.fromkeys(row["contender"] for row in rows):
        cells = [cell(found.get((name, depth)), spread.get((name, depth))) for depth in networks]
        if last > first:
            ends = [found.get((name, depth)) for depth in (first, last)]
            cells.append("" if None in ends else figures((ends[1] - ends[0]) / (last - first), 2))
        yield f"| {name} | {' | '.join(cells)} |"


def cell(value: float | None, deviation: float | None) -> str:
    """A figure as a table shows it."""
    if value is None:
        return ""
    return figures(value, 3) + (f" ± {figures(deviation, 2)}" if deviation is not None else "")


def figures(value: float, count: int) -> str:
    """A number with so many significant figures, or all of those before the point."""
    return f"{value:,.{count}g}" if abs(value) < 10**count else f"{value:,.0f}"


def color(name: str) -> str:
    """Of a contender: its backend's, grey for a peer's."""
    return next((color for backend, color in COLORS.items() if f", {backend}" in name), "tab:gray")


def draw_shares(cases: dict[str, list[Row]], base: str, path: Path, title: str) -> None:
    """A panel a case and batch size: how long each contender takes, beside the base."""
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
        axes.set_xlabel("milliseconds an image", fontsize=8)
        axes.set_title(f"{case}, batch {batch}", fontsize=8)
        for row in rows:
            if row["contender"] == base:
                axes.axvline(row["milliseconds"], color="black", lw=0.8, ls=":")
    drawing.save(figure, path, f"{title}; dotted: {base}")


def draw_by_depth(cases: dict[str, list[Row]], _: None, path: Path, title: str) -> None:
    """A panel a case and figure: each contender's by depth, or a bar for each where there is one network."""
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
    main(*map(Path, sys.argv[1:]))
