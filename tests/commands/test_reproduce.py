"""`keras-resnet reproduce`."""

from __future__ import annotations

import json
from pathlib import Path

from keras_resnet.training.interruption import StoppedError
from keras_resnet.training.processes import Processes


def test_reproduce_lists_the_papers_tables_and_figures(command):
    status, out, err = command("reproduce --list")
    assert (status, err) == (0, "")
    for name in ("he2015-table6", "he2016-table1", "he2016-figure6"):
        assert f"\n{name} " in f"\n{out}"
    rows = json.loads(command("reproduce --list --json")[1])
    assert ("he2016-table2", "He et al. 2016, table 2", 10) in [
        (row["name"], row["source"], row["rows"]) for row in rows
    ]


def test_reproduce_reports_what_has_been_run_and_runs_nothing(command, monkeypatch):
    monkeypatch.setattr(Processes, "run", lambda *_: 1 / 0)
    report = json.loads(command("reproduce he2015-table6 --report --seeds 2 --out there --json")[1])
    assert [row["runs"] for row in report["rows"]] == 6 * [0]
    assert Path("there/he2015-table6.html").is_file()
    status, out, err = command("reproduce he2015-table6 --report --seeds 2")
    assert (status, err) == (0, "")
    assert Path("experiments/he2015-table6.md").read_text() in out
    assert out.endswith("Look at experiments/he2015-table6.html\n")


def test_reproduce_that_is_stopped_reports_what_it_has_and_asks_to_be_run_again(command, monkeypatch):
    def stop(*_):
        raise StoppedError("stopped by SIGTERM")

    monkeypatch.setattr(Processes, "run", stop)
    status, out, err = command("reproduce he2015-table6 --seeds 1")
    assert (status, out) == (75, "")
    assert err.endswith("keras-resnet: stopped by SIGTERM. The same command goes on from there.\n")
    assert Path("experiments/he2015-table6.html").is_file()


def test_reproduce_says_beforehand_what_it_costs(command):
    budget = "--budget epochs=3,images=1000"
    status, out, err = command(f"reproduce he2015-table6 --dry-run --seeds 2 --only ResNet-20 {budget}")
    assert (status, err) == (0, "")
    first, second = out.splitlines()[1:3]
    assert first.split()[:6] == ["ResNet-20", "0", "resnet20", "20", "269,722", "40,551,040"]
    assert (first.split()[6], second.split()[1], first.split()[-1]) == ("3,000", "1", "missing")
    assert "Scaled: 3 epochs, 1,000 training images." in out
    assert not Path("experiments").exists()
    plan = json.loads(command("reproduce he2015-table6 --dry-run --seeds 1 --only ResNet-20 --json")[1])
    assert (plan["scaled"], plan["runs"][0]["images"]) == ("", 64_000 * 128)
