"""Fine-tuning: which layers learn, which stay frozen, and the probe; see also `once`."""

from __future__ import annotations

import json
import shutil
import signal

import numpy as np
import pytest

import small_runs
from comparing import kept, network
from keras_resnet import saving
from keras_resnet.cli import main
from keras_resnet.data import DATASETS
from keras_resnet.training.machine import Machine


def test_a_run_begins_with_the_given_weights(fine_tune):
    """With a rate of zero nothing is learned, and the error is that of the first run."""
    out, _ = fine_tune(learning_rate=0.0, weight_decay=0.0, freeze_until="features")
    before = json.loads((small_runs.finished() / "summary.json").read_text())
    after = json.loads((out / "summary.json").read_text())
    assert after["test_error"] == before["test_error"]
    assert kept(out, small_runs.finished()) == {"normalization", "stem", "stage1", "stage2", "logits"}


def test_a_frozen_part_keeps_weights_and_statistics_and_is_trainable_in_the_file(fine_tune):
    out, _ = fine_tune(freeze_until="stage1", reestimate=True)
    assert kept(out, small_runs.finished()) == {"normalization", "stem", "stage1"}
    model, _ = saving.load(out)
    assert all(layer.trainable for layer in model.layers if layer.weights and layer.name != "normalization")


def test_a_probe_comes_first_and_then_the_entire_network_learns(fine_tune):
    rates = {"probe_rate": 0.05, "learning_rate": 0.01, "schedule": "plateau"}
    out, lines = fine_tune(freeze_until="features", probe_epochs=2, **rates)
    probe = out / "probe"
    assert kept(probe, small_runs.finished()) == {"normalization", "stem", "stage1", "stage2"}
    assert kept(out, probe) == {"normalization"}
    assert [len(small_runs.history(folder)) for folder in (probe, out)] == [2, 1]
    rates = [float(small_runs.history(folder)[0]["learning_rate"]) for folder in (probe, out)]
    assert rates == [0.05, 0.01]
    summary = json.loads((out / "summary.json").read_text())
    assert summary["probe_test_error"] == json.loads((probe / "summary.json").read_text())["test_error"]
    assert next(line for line in lines if "probe" in line.lower()).startswith(
        "Probe: training for 2 epochs with the network frozen"
    )


def command(source, out):
    """Returns the command of a run of two parts: a probe of two epochs, and three epochs of the entire network."""
    words = ["train", "digits", "--weights", str(source), "--freeze-until", "stage2", "--json"]
    return [*words, "--probe-epochs", "2", "--epochs", "3", "--batch-size", "32", "--out", str(out)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Folders of the weights and of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    shutil.copytree(small_runs.finished(), folder / "source")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, "digits", small_runs.few_digits())
        assert main(command(folder / "source", folder / "run")) == 0
    return folder / "source", folder / "run"


def test_a_run_stopped_in_its_probe_and_after_it_ends_bit_equal(whole, tmp_path, capsys, signal_in):
    """Whether or not the initial weights are still available, in the probe and after it."""
    source, uninterrupted = whole
    elsewhere, words = source.with_name("elsewhere"), command(source, tmp_path / "stopped")
    signal_in(2, 2, signal.SIGTERM)
    assert main(words) == 75
    assert not (tmp_path / "stopped" / "probe" / "summary.json").exists()
    source.rename(elsewhere)
    try:
        signal_in(3, 1, signal.SIGTERM)  # an epoch that the probe does not have
        assert main(words) == 75
        assert (tmp_path / "stopped" / "probe" / "summary.json").is_file()
        elsewhere.rename(source)
        signal_in(3, 2, signal.SIGTERM)
        assert main(words) == 75
        source.rename(elsewhere)
        signal_in(0, 0)
        assert main(words) == 0
        for part in (".", "probe"):
            assert small_runs.results(tmp_path / "stopped" / part) == small_runs.results(uninterrupted / part)
        for ended in (tmp_path / "stopped", uninterrupted):
            capsys.readouterr()
            assert main(command(source, ended)) == 0
            assert "This run is already finished" in capsys.readouterr().err
        assert main(command(source, tmp_path / "new")) == 2
        assert f"Received: weights={str(source)!r}" in capsys.readouterr().err
    finally:
        if elsewhere.exists():
            elsewhere.rename(source)


def test_frozen_layers_stay_frozen_in_a_network_split_into_units(fine_tune):
    choices = {"freeze_until": "stage1"}
    plain, _ = fine_tune("plain", **choices)
    expected = network(plain)
    out, _ = fine_tune("units", Machine(rematerialize=True, loop_units=True), **choices)
    assert kept(out, small_runs.finished()) == {"normalization", "stem", "stage1"}
    for name, value in network(out).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-3, atol=1e-4, err_msg=name)
