"""`keras-resnet summary`."""

from __future__ import annotations

import json
import re
import sys
import time

import facts
from keras_resnet.models.catalog import ARCHITECTURES
from launch import shell


def test_the_summary_of_all_networks_takes_less_than_a_second():
    def seconds():
        start = time.perf_counter()
        done = shell("keras-resnet summary")
        assert done.returncode == 0, done.stderr
        assert all(architecture.__name__ in done.stdout for architecture in ARCHITECTURES.values())
        return time.perf_counter() - start

    assert any(seconds() < 1 for _ in range(3))  # the machine may be busy


def test_a_network_is_found_in_any_case_and_changed_by_options(command):
    status, out, err = command("summary RESNET34 resnet34 ResNet34 --shortcut C --json")
    assert (status, err) == (0, "")
    first, *others = json.loads(out)
    assert others == [first, first]
    assert (first["network"], first["shortcut"]) == ("ResNet34", "C")
    assert first["parameters"] == facts.IMAGENET_PARAMETERS[34]["v1_C"]
    assert first["paper_macs"] == ""  # the paper prints none for option C


def test_a_depth_that_is_valid_only_for_the_chosen_unit_is_accepted(command):
    """9n+2 layers with bottleneck units (2016, section 3.1)."""
    (row,) = json.loads(command("summary resnet29 --unit bottleneck --json")[1])
    assert (row["layers"], row["units"], row["shortcut"]) == (29, "3-3-3", "B")
    status, _, err = command("summary resnet29")
    assert status == 2 and "or 29 with unit='one_layer' or 'bottleneck'" in err


def test_stages_can_be_chosen(command):
    (row,) = json.loads(command("summary resnet34 --stage-units 2,2,2,2 --json")[1])
    assert (row["layers"], row["units"]) == (18, "2-2-2-2")
    assert row["parameters"] == facts.IMAGENET_PARAMETERS[18]["v1_B"]


def test_a_depth_that_has_no_builder_of_its_own_is_found(command):
    (row,) = json.loads(command("summary ResNet38V2 --classes 100 --json")[1])
    assert (row["layers"], row["order"], row["units"]) == (38, "full_preactivation", "6-6-6")


def test_the_table_has_the_papers_numbers_and_can_be_markdown(command):
    _, out, _ = command("summary resnet50 resnet110")
    assert "25,557,032" in out and facts.PAPER_FLOPS["50"] in out
    assert "1,727,962" in out and facts.PAPER_PARAMETERS[110] in out
    _, out, _ = command("summary resnet50 --markdown")
    assert all(line.startswith("| ") and line.endswith(" |") for line in out.splitlines()[::2])


def test_the_table_has_the_latency_if_requested(command):
    (row,) = json.loads(
        command("summary resnet20 --width 0.25 --shortcut B --image-size 16 --classes 7 --latency --json")[1]
    )
    assert 0 < row["latency"] < 1000
    table = command("summary resnet20 --width 0.25 --shortcut B --latency")[1].splitlines()
    assert table[0].split()[-1] == "ms" and float(table[1].split()[-1]) > 0
    assert "ms" not in command("summary resnet20")[1]


def test_a_bar_shows_which_network_is_being_timed(command, monkeypatch):
    monkeypatch.setattr("keras_resnet.evaluation.latency.latency", lambda model: 1.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    line = "summary resnet8 resnet14 --latency"
    assert re.search(r"Timing: +0%.* 0/2 ", command(line)[2])
    assert command(f"{line} --json")[2] == ""
