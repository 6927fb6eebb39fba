"""`keras-resnet convert`."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np

import keras_resnet
from keras_resnet import saving


def test_convert_reports_the_tensors_and_the_file_takes_raw_images(command):
    keras_resnet.CifarResNet(8, input_shape=(8, 8, 1)).save("bare.keras")
    known = "--labels digits --mean 0.5 --deviation 0.5"
    status, out, err = command(f"convert bare.keras out.keras --model resnet8 {known}")
    assert (status, err) == (0, "")
    assert "resnet8: 37 tensors of bare.keras, all used, none missing; " in out
    assert "out.keras takes raw grey images of 0 to 255 (subtract [127.5], divide by [127.5])" in out
    np.save("image.npy", np.zeros((1, 8, 8, 1), np.uint8))
    (result,) = json.loads(command("predict out.keras image.npy --json --top 10")[1])
    assert {row["name"] for row in result["classes"]} == set("0123456789")
    report = json.loads(command("convert out.keras again.keras --json")[1])
    assert (report["model"], report["labels"], report["normalization"]["mean"]) == ("resnet8", 10, [127.5])
    assert report["channels"] == 1


def test_convert_takes_labels_from_a_text_file(command):
    keras_resnet.CifarResNet(8, classes=2).save("bare.keras")
    Path("names.txt").write_text("cat\ndog\n", encoding="utf-8-sig")  # as editors on Windows do
    status, out, _ = command("convert bare.keras out.keras --model resnet8 --labels names.txt --json")
    assert (status, json.loads(out)["labels"]) == (0, 2)
    assert saving.read_info("out.keras")["class_names"] == ["cat", "dog"]


def test_convert_leaves_no_incomplete_file_when_it_is_asked_to_end(command, monkeypatch):
    """SIGTERM when the file has everything but its name. `test_preparing` shows that the signal then ends a process."""
    keras_resnet.CifarResNet(8, classes=2).save("bare.keras")
    monkeypatch.setattr("keras_resnet.files.to_disk", lambda path: os.kill(os.getpid(), signal.SIGTERM))
    monkeypatch.setattr(signal, "raise_signal", lambda number: sys.exit(128 + number))
    status, *_ = command("convert bare.keras out.keras --model resnet8")
    assert (status, os.listdir()) == (128 + signal.SIGTERM, ["bare.keras"])
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_convert_prints_the_normalisation_for_a_torchvision_file(command):
    keras_resnet.ResNet18(classes=2).save("bare.keras")
    network, known = "--model resnet18", "--mean 0.5,0.5,0.5 --deviation 0.25,0.25,0.5"
    status, out, err = command(f"convert bare.keras out.pth --to torchvision {network} {known}")
    assert (status, err) == (0, "")
    normalised = "normalised: subtract [127.5, 127.5, 127.5], divide by [63.75, 63.75, 127.5]"
    assert out.endswith(f"out.pth takes RGB images of 0 to 255, {normalised}\n")
