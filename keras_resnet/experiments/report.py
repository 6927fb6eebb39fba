"""Report of an experiment: results beside the paper's, a verdict for each row, and the curves.

    he2016-table2.json, .md, .html, -curves.png     in the folder of all experiments
    he2016-table2-scaled.json, ...                  of scaled runs; the budget is appended if another has this name

The HTML file embeds its plots and needs no network connection.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import pages
from ..analysis.analyses import ANALYSES, module_of
from ..files import read_json, write_atomically, write_json, write_text
from ..tables import text_table
from .pictures import draw_curves
from .rows import TOP5, Experiment
from .runs import Run
from .verdict import degradation, order, summarize

HEADINGS = (
    "row",
    "network",
    "paper, %",
    "measured median, %",
    "mean ± deviation",
    "runs",
    "training error, %",
    "verdict",
)
NUMBERS = range(2, 7)  # the columns of numbers


def write_report(experiment: Experiment, runs: Sequence[Run], out: Path, scaled: str = "") -> dict[str, Any]:
    """Writes the report of the runs so far.

    Args:
        experiment: the experiment, possibly scaled down to a budget.
        runs: its runs, with or without a result; a row without any result is reported as not run.
        out: folder of all experiments.
        scaled: how the runs are scaled down; empty if they have the paper's size.

    Returns:
        The contents of the JSON file: "name", "source", "title", "scaled", "view" (of the test images, unless a row has
        its own; empty for a single view), "order" (see `verdict.order`), "degradation" (see `verdict.degradation`),
        "rows" (see `verdict.summarize`), "looked" (by row, a line on the analysis of its network with the first seed)
        and "machines".
    """
    by_row: dict[str, list[dict[str, Any]]] = {row.name: [] for row in experiment.rows}
    for run in runs:
        if result := run.result():
            by_row[run.row.name].append(result)
    lines = [summarize(row, by_row[row.name], scaled) for row in experiment.rows]
    same, clear = order(lines, experiment.rows)
    rising, pairs = degradation(lines, experiment.degrading)
    report = {
        "name": experiment.name,
        "source": experiment.source,
        "title": experiment.title,
        "scaled": scaled,
        "view": "" if experiment.views is None else str(experiment.views),
        "order": {"same": same, "clear": clear},
        "degradation": {"same": rising, "pairs": pairs},
        "rows": lines,
        "looked": {},
        "machines": sorted(
            {_machine(result) for results in by_row.values() for result in results if result["summary"]}
        ),
    }
    name = report_name(experiment, out, scaled)
    title = f"{experiment.source}: {experiment.title}" + (f"\nscaled: {scaled}" if scaled else "")
    pictures = {}
    curves = {name: [result["curves"] for result in results if result["curves"]] for name, results in by_row.items()}
    if any(curves.values()):
        pictures["training and test curves"] = out / f"{name}-curves.png"
        quantity = "top-1 error" if experiment.views is None else "top-1 error of a single view"
        write_atomically(out / f"{name}-curves.png", lambda path: draw_curves(curves, path, title, quantity))
    analysis = experiment.analysis
    firsts = {row: results[0]["analyses"] for row, results in by_row.items() if results}
    analysed = {row: analyses[analysis] for row, analyses in firsts.items() if analysis in analyses}
    if analysed:
        module = module_of(analysis)
        report["looked"] = {row: module.summary_line(result) for row, result in analysed.items()}
        pictures[ANALYSES[analysis].what] = out / f"{name}-{analysis}.png"
        write_atomically(out / f"{name}-{analysis}.png", lambda path: module.draw(analysed, path, title))
    write_json(out / f"{name}.json", report)
    write_text(out / f"{name}.md", markdown(report, pictures))
    write_text(out / f"{name}.html", page(report, pictures))
    return report


def report_name(experiment: Experiment, out: Path, scaled: str) -> str:
    """Returns the name of a report's files, without suffix. It never overwrites the report of another budget.

    Raises:
        ValueError: the existing report of that name is damaged.
    """
    name = f"{experiment.name}-scaled" if scaled else experiment.name
    existing = out / f"{name}.json"
    if scaled and existing.is_file() and read_json(existing, "Delete it.").get("scaled") != scaled:
        name += "-" + re.sub("[^0-9a-z]+", "-", scaled.replace(",", "").lower())
    return name


def _machine(result: dict[str, Any]) -> str:
    summary = result["summary"]
    versions = ", ".join(f"{name} {version}" for name, version in summary["versions"].items())
    return f"{summary['device']}; {versions}"


def cells(line: dict[str, Any]) -> list[str]:
    """Returns the cells of a row, in the order of `HEADINGS`."""

    def number(value: float | None) -> str:
        return "" if value is None else "diverged" if value == 100 and line["diverged"] else f"{value:.2f}"

    median, top5 = number(line["median"]), line["top5_error"]
    if top5 is not None and TOP5 in line["published"] and median != "diverged":
        median += f"{TOP5}{top5:.2f}"
    unit = line["network"].get("unit")  # shallower networks have the same name for each of their units
    spread = "" if line["deviation"] is None else f"{line['mean']:.2f} ± {line['deviation']:.2f}"
    return [
        line["row"],
        line["model"] + (f" ({unit} units)" if unit else ""),
        line["published"],
        median,
        spread,
        f"{line['runs']}" + (f", {line['diverged']} diverged" if line["diverged"] else ""),
        number(line["train_error"]),
        line["verdict"],
    ]


def _sentences(report: dict[str, Any]) -> list[str]:
    sentences = []
    if report["scaled"]:
        sentences.append(
            f"Scaled: {report['scaled']}. These runs are smaller than the paper's. Their errors do not reproduce its "
            "numbers, which are shown only to compare the order of the rows."
        )
    same, clear = report["order"]["same"], report["order"]["clear"]
    if clear:
        pairs = "1 pair of rows that differs" if clear == 1 else f"{clear} pairs of rows that differ"
        sentences.append(
            f"Of {pairs} clearly in the paper, and at all in these runs, {same} {'is' if same == 1 else 'are'} in the "
            "same order. Chance alone would give about half of them."
        )
    if pairs := report["degradation"]["pairs"]:
        rising = report["degradation"]["same"]
        sentences.append(
            "In the paper, the training error of the plain networks rises with their depth. Here it does so in "
            f"{rising} of {pairs} {'pair' if pairs == 1 else 'pairs'} of them."
        )
    if any(TOP5 in line["published"] for line in report["rows"]):
        sentences.append("Errors after a slash are top-5 errors, the others are top-1 errors.")
    if report["view"]:
        sentences.append(f"The errors are those of {report['view']}; the curves show a single view of each image.")
    return sentences


def markdown(report: dict[str, Any], pictures: Mapping[str, Path]) -> str:
    """Returns the report as Markdown; `pictures` are its image files by caption."""
    lines = [f"# {report['source']}: {report['title']}", "", *_sentences(report), ""]
    lines += [text_table(HEADINGS, [cells(line) for line in report["rows"]], NUMBERS, markdown=True)]
    lines += ["", *(f"- {row}: {text}" for row, text in report["looked"].items()), ""] if report["looked"] else [""]
    lines += [line for caption, path in pictures.items() for line in (f"![{caption}]({path.name})", "")]
    lines += [f"- {name}" for name in report["machines"]]
    return "\n".join(lines).rstrip() + "\n"


def page(report: dict[str, Any], pictures: Mapping[str, Path]) -> str:
    """Returns the report as a single HTML page; `pictures` are its image files by caption."""
    body = [pages.element("h1", report["source"]), pages.element("p", report["title"])]
    body += [
        pages.element("p", sentence, "warning" if sentence.startswith("Scaled") else "")
        for sentence in _sentences(report)
    ]
    body += [pages.table(HEADINGS, map(_row, report["rows"]))]
    body += [pages.element("p", f"{row}: {text}") for row, text in report["looked"].items()]
    body += [pages.image(path, caption) for caption, path in pictures.items()]
    body += ["<footer>", *(pages.element("div", machine) for machine in report["machines"]), "</footer>"]
    return pages.page(f"{report['name']}{' (scaled)' if report['scaled'] else ''}", body)


def _row(line: dict[str, Any]) -> str:
    *others, verdict = cells(line)
    kinds = ["number" if index in NUMBERS else "name" for index in range(len(others))]
    kind = {"reproduced": "good", "not reproduced": "bad"}.get(verdict.partition(":")[0], "plain")
    styled = [*zip(others, kinds, strict=True), (verdict, kind)]
    return pages.row(pages.element("td", cell, kind) for cell, kind in styled)
