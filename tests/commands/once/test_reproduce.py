"""`keras-resnet reproduce`."""

from __future__ import annotations

import json
from pathlib import Path

import small_runs
from keras_resnet.experiments import estimate
from keras_resnet.experiments.papers import find_experiment
from keras_resnet.experiments.runs import plan
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


def test_reproduce_reports_finished_runs_without_running_any(command, monkeypatch):
    monkeypatch.setattr(Processes, "run", lambda *_: 1 / 0)
    report = json.loads(command("reproduce he2015-table6 --report --seeds 2 --out there --json")[1])
    assert [row["runs"] for row in report["rows"]] == 6 * [0]
    assert Path("there/he2015-table6.html").is_file()
    status, out, err = command("reproduce he2015-table6 --report --seeds 2")
    assert (status, err) == (0, "")
    assert Path("experiments/he2015-table6.md").read_text() in out
    assert out.endswith("Written to experiments/he2015-table6.html\n")


def test_reproduce_that_is_stopped_reports_finished_runs_and_says_how_to_resume(command, monkeypatch):
    def stop(*_):
        raise StoppedError("stopped by SIGTERM")

    monkeypatch.setattr(Processes, "run", stop)
    monkeypatch.setattr("keras_resnet.experiments.runs.make_available", lambda *_: None)
    status, out, err = command("reproduce he2015-table6 --seeds 1")
    assert (status, out) == (75, "")
    assert err.endswith("keras-resnet: stopped by SIGTERM. Run the same command again to resume.\n")
    assert Path("experiments/he2015-table6.html").is_file()


def test_a_dry_run_prints_the_cost_of_all_runs(command, monkeypatch):
    budget = "--budget epochs=3,images=1000"
    status, out, err = command(f"reproduce he2015-table6 --dry-run --seeds 2 --only ResNet-20 {budget}")
    assert (status, err) == (0, "")
    first, second = out.splitlines()[1:3]
    assert first.split()[:6] == ["ResNet-20", "0", "resnet20", "20", "269,722", "40,551,040"]
    assert (first.split()[6], second.split()[1], first.split()[-1]) == ("3,000", "1", "missing")
    assert "Scaled: 3 epochs, 1,000 training images." in out
    assert not Path("experiments").exists()
    monkeypatch.setattr(estimate, "speed", lambda: 1e9)  # it was measured once, above
    planned = json.loads(command("reproduce he2015-table6 --dry-run --seeds 1 --only ResNet-20 --json")[1])
    assert (planned["scaled"], planned["runs"][0]["images"]) == ("", 64_000 * 128)


def write_results(experiment, *seeds):
    """Writes a result for each row and seed, with an error of 10 plus the seed."""
    for run in plan(experiment, Path("experiments"), seeds):
        summary = {"train_error": 1.0, "device": "a machine", "versions": {}}
        result = {"error": 10.0 + run.recipe.seed, "diverged": False, "summary": summary}
        run.result_file.parent.mkdir(parents=True, exist_ok=True)
        run.result_file.write_text(json.dumps({**result, "curves": {}, "views": {}, "analyses": {}}))


def test_finished_runs_cost_no_more_hours(command, monkeypatch):
    """A billion multiply-adds per second take 92 hours for 64,000 batches of 128 images, at 40,551,040 each."""
    monkeypatch.setattr(estimate, "speed", lambda: 1e9)
    line = "reproduce he2015-table6 --dry-run --seeds 2 --only ResNet-20"
    assert "The remaining runs take about 184.6 hours" in command(line)[1]
    write_results(find_experiment("he2015-table6").only(["ResNet-20"]), 0)
    assert "The remaining runs take about 92.3 hours" in command(line)[1]


def test_a_run_that_two_rows_share_costs_once(command, monkeypatch):
    """Table 5 of 2016 has two tests of the same ResNet-152: 90 epochs of 1,281,167 images at 11,282,415,616."""
    monkeypatch.setattr(estimate, "speed", lambda: 1e12)
    rows = "--only ResNet-152 --only 'ResNet-152, 224x224'"
    assert (
        "The remaining runs take about 361.4 hours" in command(f"reproduce he2016-table5 --dry-run --seeds 1 {rows}")[1]
    )


def test_a_report_covers_all_finished_runs_whatever_the_call_requests(command):
    experiment = find_experiment("he2015-table6")
    write_results(experiment.only(["ResNet-20", "ResNet-32"]), 0, 3)
    for words in ("", "--seeds 1", "--only ResNet-44", "--only ResNet-20 --seeds 1"):
        report = json.loads(command(f"reproduce he2015-table6 --report --json {words}")[1])
        assert [row["row"] for row in report["rows"]] == [row.name for row in experiment.rows]
        assert [row["errors"] for row in report["rows"]] == [[10.0, 13.0], [10.0, 13.0], [], [], [], []]
        assert json.loads(Path("experiments/he2015-table6.json").read_text()) == report


def test_reports_of_different_budgets_do_not_overwrite_each_other(command):
    first, again = "--budget depth=20,epochs=3,images=10000", "--budget depth=20,epochs=4,images=10000"
    out = command(f"reproduce he2015-table6 --report {first}")[1]
    assert out.endswith("Written to experiments/he2015-table6-scaled.html\n")
    before = small_runs.files(Path("experiments"))
    out = command(f"reproduce he2015-table6 --report {again}")[1]
    name = "he2015-table6-scaled-20-layers-at-most-4-epochs-10000-training-images"
    assert out.endswith(f"Written to experiments/{name}.html\n") and "Scaled: 20 layers at most, 4 epochs" in out
    after = small_runs.files(Path("experiments"))
    assert before.items() <= after.items()
    assert set(after) - set(before) == {f"{name}.{kind}" for kind in ("json", "md", "html")}
    command(f"reproduce he2015-table6 --report {first}")
    assert set(small_runs.files(Path("experiments"))) == set(after)


def test_a_budget_gives_a_row_the_same_network_with_and_without_the_other_rows(command, monkeypatch):
    """ResNet-44, the third of six depths, becomes the third of the six depths of up to 38 layers."""
    monkeypatch.setattr(estimate, "speed", lambda: 1e9)
    line = "reproduce he2015-table6 --dry-run --json --seeds 1 --budget depth=38"
    all_rows = json.loads(command(line)[1])["runs"]
    (alone,) = json.loads(command(f"{line} --only ResNet-44")[1])["runs"]
    assert alone in all_rows and alone["layers"] == 20
