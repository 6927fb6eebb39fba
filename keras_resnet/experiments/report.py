"""The report of an experiment: a table beside the paper's, the curves, and a verdict a row.

    he2016-table2.json, .md, .html, -curves.png     in the folder of all runs
    he2016-table2-scaled.json, ...                  of smaller ones; those of another budget have its name behind that

The HTML file holds its pictures and opens without a network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import pages, saving
from ..analysis.analyses import ANALYSES, tool
from .pictures import draw_curves
from .rows import Experiment
from .runs import Run
from .verdict import order, summarize

HEADINGS = ("row", "network", "paper, %", "here: median, %", "mean ± deviation", "runs", "training error, %", "verdict")


def write_report(experiment: Experiment, runs: Sequence[Run], out: Path, scaled: str = "") -> dict[str, Any]:
    """Writes the report of what has been run so far.

    Args:
        experiment: perhaps within a budget.
        runs: its runs, with or without a result yet; a row of which there are none is told as not run.
        out: the folder of all.
        scaled: in what the runs are smaller than the paper's; empty if they are not.

    Returns:
        What the JSON file holds: "name", "source", "title", "scaled", "order", "rows", "looked" (what was seen in the
        networks of the first seed, a line a row) and "machines".
    """
    by_row = {row.name: [run.result() for run in runs if run.row.name == row.name] for row in experiment.rows}
    by_row = {name: [result for result in results if result] for name, results in by_row.items()}
    lines = [summarize(row, by_row[row.name], scaled) for row in experiment.rows]
    same, clear = order(lines, experiment.rows)
    report = {
        "name": experiment.name,
        "source": experiment.source,
        "title": experiment.title,
        "scaled": scaled,
        "order": {"same": same, "clear": clear},
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
        saving.write_atomically(out / f"{name}-curves.png", lambda path: draw_curves(curves, path, title))
    analysis = experiment.analysis
    firsts = {row: results[0]["analyses"] for row, results in by_row.items() if results}
    looked = {row: found[analysis] for row, found in firsts.items() if analysis in found}
    if looked:
        look = tool(analysis)
        report["looked"] = {row: look.summary_line(found) for row, found in looked.items()}
        pictures[ANALYSES[analysis].what] = out / f"{name}-{analysis}.png"
        saving.write_atomically(out / f"{name}-{analysis}.png", lambda path: look.draw(looked, path, title))
    saving.write_json(out / f"{name}.json", report)
    saving.write_text(out / f"{name}.md", markdown(report, pictures))
    saving.write_text(out / f"{name}.html", page(report, pictures))
    return report


def report_name(experiment: Experiment, out: Path, scaled: str) -> str:
    """What the files of a report are called, but for their suffix. No budget takes the name of another's.

    Raises:
        ValueError: the report of that name is damaged.
    """
    name = f"{experiment.name}-scaled" if scaled else experiment.name
    there = out / f"{name}.json"
    if scaled and there.is_file() and saving.read_json(there, "Delete it.").get("scaled") != scaled:
        name += "-" + re.sub("[^0-9a-z]+", "-", scaled.replace(",", "").lower())
    return name


def _machine(result: dict[str, Any]) -> str:
    summary = result["summary"]
    versions = ", ".join(f"{name} {version}" for name, version in summary["versions"].items())
    return f"{summary['device']}; {versions}"


def cells(line: dict[str, Any]) -> list[str]:
    """A row's cells, under `HEADINGS`."""

    def number(value: float | None) -> str:
        return "" if value is None else "diverged" if value == 100 else f"{value:.2f}"

    spread = "" if line["deviation"] is None else f"{line['mean']:.2f} ± {line['deviation']:.2f}"
    return [
        line["row"],
        line["model"],
        line["published"],
        number(line["median"]),
        spread,
        str(line["runs"]),
        number(line["train_error"]),
        line["verdict"],
    ]


def _sentences(report: dict[str, Any]) -> list[str]:
    same, clear = report["order"]["same"], report["order"]["clear"]
    told = [f"In {same} of {clear} pairs of rows that differ clearly in the paper, the same row is better here."]
    if report["scaled"]:
        told.insert(
            0,
            f"Scaled: {report['scaled']}. These runs are smaller than the paper's, and their errors are no "
            "reproduction of its numbers, which stand beside them for their order alone.",
        )
    return told if clear else told[:-1]


def markdown(report: dict[str, Any], pictures: Mapping[str, Path]) -> str:
    """The report in Markdown, with its pictures by what they show."""
    lines = [f"# {report['source']}: {report['title']}", "", *_sentences(report), ""]
    lines += [f"| {' | '.join(HEADINGS)} |", f"|{'---|' * len(HEADINGS)}"]
    lines += [f"| {' | '.join(cells(line))} |" for line in report["rows"]]
    lines += ["", *(f"- {row}: {told}" for row, told in report["looked"].items()), ""] if report["looked"] else [""]
    lines += [line for what, path in pictures.items() for line in (f"![{what}]({path.name})", "")]
    lines += [f"- {name}" for name in report["machines"]]
    return "\n".join(lines).rstrip() + "\n"


def page(report: dict[str, Any], pictures: Mapping[str, Path]) -> str:
    """The report as one HTML file, with its pictures by what they show."""
    body = [pages.element("h1", report["source"]), pages.element("p", report["title"])]
    body += [
        pages.element("p", sentence, "warning" if sentence.startswith("Scaled") else "")
        for sentence in _sentences(report)
    ]
    body += [pages.table(HEADINGS, map(_row, report["rows"]))]
    body += [pages.element("p", f"{row}: {told}") for row, told in report["looked"].items()]
    body += [pages.image(path, what) for what, path in pictures.items()]
    body += ["<footer>", *(pages.element("div", machine) for machine in report["machines"]), "</footer>"]
    return pages.page(f"{report['name']}{' (scaled)' if report['scaled'] else ''}", body)


def _row(line: dict[str, Any]) -> str:
    *others, verdict = cells(line)
    kinds = ["name", "name", *["number"] * (len(others) - 2)]
    kind = {"reproduced": "good", "not reproduced": "bad"}.get(verdict.partition(":")[0], "plain")
    told = [*zip(others, kinds, strict=True), (verdict, kind)]
    return pages.row(pages.element("td", cell, kind) for cell, kind in told)
