"""examples/two_folders.py, the example for a user with two folders of pictures."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from keras_resnet.cli import main

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def photos(shared, tmp_path):
    """Real photographs of dogs and of churches, 60 of each."""
    for name, folder in (("dogs", "n02102040"), ("churches", "n03028079")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for path in sorted((shared / "data/imagenette_mini/train" / folder).iterdir())[:60]:
            (tmp_path / "photos" / name / path.name).symlink_to(path)
    return tmp_path / "photos"


@pytest.mark.parametrize("out", ["pets", "pets.h5"])
def test_an_invalid_file_name_is_refused_before_the_training(monkeypatch, capsys, out):
    monkeypatch.setattr(sys, "argv", ["two_folders.py", "nowhere", "--out", out])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "examples/two_folders.py"), run_name="__main__")
    assert end.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"error: --out must end in .keras. Received: {out}")


def test_it_learns_to_tell_dogs_from_churches(shared, photos, tmp_path, capsys, monkeypatch):
    """With weights of a 32x32 network for CIFAR-10, which has no churches."""
    weights = shared / "references/akamaster_resnet20.th"
    arguments = [photos, "--model", "resnet20", "--weights", weights, "--size", "32", "--epochs", "2"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples/two_folders.py"), *map(str, arguments)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    match = re.search(r"([\d.]+) % of the held-out pictures are classified correctly as churches, dogs", done.stdout)
    assert float(match[1]) >= 75

    monkeypatch.chdir(tmp_path)
    held_out = shared / "data/imagenette_mini/val"
    correct = []
    for name, folder in (("dogs", "n02102040"), ("churches", "n03028079")):
        capsys.readouterr()
        assert main(["predict", "two_folders.keras", str(held_out / folder), "--top", "1", "--json"]) == 0
        correct += [row["classes"][0]["name"] == name for row in json.loads(capsys.readouterr().out)]
    assert sum(correct) / len(correct) >= 0.75
