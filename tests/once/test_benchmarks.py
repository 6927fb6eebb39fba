"""Results that benchmarks write, and the page that reports them."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def test_a_comparison_that_is_killed_leaves_its_earlier_rounds(tmp_path):
    program = tmp_path / "killed.py"
    program.write_text(f"""
import itertools, os, signal, sys

sys.path.insert(0, {str(BENCHMARKS)!r})
import harness


def load(setting):
    def compute():
        if next(rounds) == 2:
            os.kill(os.getppid(), signal.SIGKILL)
        return 0.004

    rounds = itertools.count()
    return compute


contenders = {{"one": harness.Contender(load, computes=True)}}
arguments = harness.parse(harness.options("", contenders), contenders)
harness.compare(contenders, arguments, {{"model": "toy"}}, [2], "one")
""")
    words = [sys.executable, str(program), "--cores", "1", "--json", str(tmp_path / "toy.json")]
    assert subprocess.run(words, capture_output=True).returncode == -9
    report = json.loads((tmp_path / "toy.json").read_text())
    assert report["rounds"] == 5
    (row,) = report["results"]
    assert (row["contender"], row["rounds"], row["milliseconds"]) == ("one", 2, 2.0)


def test_the_page_states_the_number_of_rounds_and_the_notes(tmp_path):
    row = {"model": "toy", "cores": 1, "batch": 1, "milliseconds": 2.0, "from": 1.0, "to": 3.0}
    rows = [{**row, "contender": "one", "rounds": 2}, {**row, "contender": "PyTorch, eager", "rounds": 5}]
    about = {"benchmark": "training", "processor": "A processor", "versions": {"keras": "3"}, "rounds": 5}
    (tmp_path / "toy.json").write_text(json.dumps({**about, "note": "Half of it is not so.", "results": rows}))
    runpy.run_path(str(BENCHMARKS / "report.py"))["main"](tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "A processor; keras 3. Medians of 2 to 5 rounds in turns.\n\nHalf of it is not so.\n\n![toy]" in text
