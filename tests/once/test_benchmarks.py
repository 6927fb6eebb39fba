"""The files that benchmarks write, and the page of results made of them."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def test_an_interrupted_comparison_leaves_the_rounds_before(tmp_path):
    program = tmp_path / "killed.py"
    program.write_text(f"""
import itertools, os, signal, sys

sys.path.insert(0, {str(BENCHMARKS)!r})
import harness
from workers import Contender


def load(setting):
    def compute():
        if next(rounds) == 2:
            os.kill(os.getppid(), signal.SIGKILL)
        return 0.004

    rounds = itertools.count()
    return compute


contenders = {{"one": Contender(load, returns_seconds=True)}}
arguments = harness.parse(harness.options("", contenders), contenders)
harness.compare(contenders, arguments, {{"model": "toy"}}, [2], "one")
""")
    command = [sys.executable, str(program), "--cores", "1", "--json", str(tmp_path / "toy.json")]
    assert subprocess.run(command, capture_output=True).returncode == -9
    result = json.loads((tmp_path / "toy.json").read_text())
    assert result["rounds"] == 5
    (row,) = result["results"]
    assert (row["contender"], row["rounds"], row["milliseconds"]) == ("one", 2, 2.0)


def test_the_page_says_how_many_rounds_there_were_and_what_was_noted(tmp_path):
    row = {"model": "toy", "cores": 1, "batch": 1, "milliseconds": 2.0, "from": 1.0, "to": 3.0}
    rows = [{**row, "contender": "one", "rounds": 2}, {**row, "contender": "PyTorch, eager", "rounds": 5}]
    about = {"benchmark": "training", "processor": "A processor", "versions": {"keras": "3"}, "rounds": 5}
    (tmp_path / "toy.json").write_text(json.dumps({**about, "note": "Half of it is not so.", "results": rows}))
    runpy.run_path(str(BENCHMARKS / "report.py"))["main"](tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "A processor; keras 3. Medians of 2 to 5 interleaved rounds.\n\nHalf of it is not so.\n\n![toy]" in text
