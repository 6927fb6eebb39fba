"""Photographs that a run cannot be on."""

from __future__ import annotations

import contextlib
import shutil

import numpy as np
import pytest

from keras_resnet.cli import main
from keras_resnet.data import ImageStream


@pytest.mark.parametrize("split", ["train", "val"])
def test_too_many_photographs_that_are_not_whole_end_a_run_in_a_line(album, tmp_path, capsys, monkeypatch, split):
    """Of 39 and of 17, ten may be so."""
    monkeypatch.setattr(ImageStream, "mean", lambda self, kind, size: np.zeros(3))
    shutil.copytree(album, tmp_path / "album")
    for path in sorted((tmp_path / "album" / split).glob("*/*"))[:12]:
        path.write_bytes(b"no image")
    line = f"train folder:{tmp_path / 'album'} --model resnet8 --width 0.25 --shortcut B --size 32 --epochs 1"
    assert main([*line.split(), "--out", str(tmp_path / "run")]) == 2
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith("keras-resnet: error: folder:") and "images are not whole" in last


def test_views_that_cannot_be_leave_nothing(album, tmp_path, capsys):
    line = f"train folder:{album} --model resnet8 --size 32 --out {tmp_path / 'run'}".split()
    for mistake, words in (
        (
            "--scales=16,64",
            "`scales` must be a lowest and a highest shorter side, from the size 32 up. Received: (16, 64)",
        ),
        ("--test-resize=16", "`resize` at least `size`. Received: 32 and 16"),
        ("--pad=4", "`pad` does not apply to"),
        ("--data-dir=nowhere --scales=x", "--scales"),
        ("--images-on-device", "`images_on_device` takes images that lie in memory. Those of folder:"),
    ):
        with contextlib.suppress(SystemExit):  # argparse's way out
            assert main([*line, *mistake.split()]) == 2
        err = capsys.readouterr().err
        assert (words in err, err.count("\n")) == (True, 1), err
    assert main(["train", f"folder:{album / 'train'}", "--model", "resnet8"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "run").exists()
