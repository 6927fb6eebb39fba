"""`keras-resnet analyze`."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

import small_runs
from keras_resnet.analysis.kinds import KINDS


@pytest.mark.parametrize("name", list(KINDS))
def test_analyze_puts_networks_beside_one_another(command, name):
    """One that was trained, and one by its name, as it begins."""
    finished = str(small_runs.finished())
    status, out, err = command(f"analyze {name} {finished} resnet14 digits --out seen --images 6")
    assert (status, err) == (0, "")
    told = out.splitlines()
    assert [line.partition(":")[0] for line in told[:2]] == [finished, "resnet14"]
    assert told[2:] == [f"Look at seen/: {name}.json, {name}.png"]
    found = json.loads(Path(f"seen/{name}.json").read_text())
    assert list(found) == [finished, "resnet14"]
    assert cv2.imread(f"seen/{name}.png").std() > 10
    assert f"{name} " in command("analyze --help")[1]


def test_a_network_that_is_named_is_looked_at_as_it_begins_and_always_the_same(command):
    line = "analyze propagation resnet8 plainnet8 digits --images 6 --json"
    first, again, other = (json.loads(command(text)[1]) for text in (line, line, f"{line} --seed 1"))
    assert first == again != other
    assert [unit["factor"] for unit in first["plainnet8"]["units"]] == [None, 0, None, None]
    assert [unit["factor"] for unit in first["resnet8"]["units"]] == [None, 1, None, None]
    assert Path("analysis/propagation.json").is_file()
    halved = json.loads(
        command(f"{line.replace(' plainnet8', '')} --skip constant_scaling --shortcut-scale 0.5 --shortcut A")[1]
    )
    assert halved["resnet8"]["units"][0]["product"] == 0.5
