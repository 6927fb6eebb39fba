"""Tables of what the benchmarks on the harness have measured: `results/*.json` as `results/README.md`.

python benchmarks/report.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_resnet.saving import write_text

RESULTS = Path(__file__).resolve().parent / "results"
BASES = {"inference": "torchvision, compiled", "training": "PyTorch, eager"}


def main() -> None:
    parts = ["# What was measured\n"]
    for path in sorted(RESULTS.glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        if result.get("benchmark") in BASES:
            parts += section(path.stem, result)
    write_text(RESULTS / "README.md", "\n".join(parts))


def section(name: str, result: dict[str, Any]) -> Iterator[str]:
    """A file's heading, machine and tables."""
    base = BASES[result["benchmark"]]
    versions = ", ".join(f"{package} {version}" for package, version in result["versions"].items())
    yield f"## {name}\n"
    yield f"{result['processor']}; {versions}. Medians of {result['rounds']} rounds in turns.\n"
    cases: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in result["results"]:
        cases.setdefault((row["model"], row["image_size"], row.get("precision"), row["cores"]), []).append(row)
    for (model, size, precision, cores), rows in cases.items():
        what = f"{model}, {size}x{size} pixels, {cores} core{'s' if cores > 1 else ''}"
        yield f"{what}{f', {precision}' if precision else ''}: milliseconds an image, as a share of {base}\n"
        yield from table(rows, base)
        yield ""


def table(rows: list[dict[str, Any]], base: str) -> Iterator[str]:
    """A line a contender, a column a batch size, the fastest at the largest first."""
    found = {(row["contender"], row["batch"]): row["milliseconds"] for row in rows}
    batches = sorted({row["batch"] for row in rows})
    names = sorted({row["contender"] for row in rows}, key=lambda name: found[name, batches[-1]])
    yield f"| | {' | '.join(f'batch {batch}' for batch in batches)} |"
    yield "|---|" + "---:|" * len(batches)
    for name in names:
        cells = []
        for batch in batches:
            share = f" ({found[name, batch] / found[base, batch]:.2f})" if (base, batch) in found else ""
            cells.append(f"{found[name, batch]:.1f}{share}")
        yield f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
