"""The example that a newcomer with two folders of pictures follows."""

from __future__ import annotations

import json
import os
import re
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
def test_a_name_that_no_model_can_have_is_refused_before_the_training(tmp_path, out):
    words = [sys.executable, str(ROOT / "examples/two_folders.py"), "nowhere", "--out", out]
    done = subprocess.run(words, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith(f"error: --out must end in .keras. Received: {out}")


def test_it_learns_to_tell_dogs_from_churches(shared, photos, tmp_path, capsys, monkeypatch):
    """With what a network of 32x32 has learned of CIFAR-10, which has no churches."""
    weights = shared / "references/akamaster_resnet20.th"
    words = [photos, "--model", "resnet20", "--weights", weights, "--size", "32", "--epochs", "2"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples/two_folders.py"), *map(str, words)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told = re.search(r"([\d.]+) % of the pictures kept aside are told right, of churches, dogs", done.stdout)
    assert float(told[1]) >= 75

    monkeypatch.chdir(tmp_path)
    held_out = shared / "data/imagenette_mini/val"
    right = []
    for name, folder in (("dogs", "n02102040"), ("churches", "n03028079")):
        capsys.readouterr()
        assert main(["predict", "two_folders.keras", str(held_out / folder), "--top", "1", "--json"]) == 0
        right += [row["classes"][0]["name"] == name for row in json.loads(capsys.readouterr().out)]
    assert sum(right) / len(right) >= 0.75
