"""The plot of a run's history shows its numbers."""

from __future__ import annotations

import pytest

from keras_resnet.training import curves


@pytest.mark.parametrize("split", ["test", "validation"])
def test_the_curves_are_those_of_training_and_of_testing(monkeypatch, tmp_path, split):
    figures = []
    monkeypatch.setattr(curves, "save", lambda figure, *_: figures.append(figure))
    history = [
        {
            "epoch": epoch,
            "train_error": 40.0 - epoch,
            "train_loss": 1.5 / epoch,
            f"{split}_error": 50.0 - epoch,
            f"{split}_loss": 2.0 / epoch,
            "learning_rate": 0.1 / epoch,
        }
        for epoch in (1, 2, 3)
    ]
    curves.draw_curves(history, tmp_path / "curves.png", "a title")
    error, loss, rate = figures[0].axes
    lines = {
        axes.get_title(): {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
        for axes in (error, loss)
    }
    assert lines == {
        "top-1 error": {
            "training": [[1, 39], [2, 38], [3, 37]],
            f"{split}, at the end 47.00 %": [[1, 49], [2, 48], [3, 47]],
        },
        "loss (cross-entropy)": {
            "training": [[1, 1.5], [2, 0.75], [3, 0.5]],
            f"{split}, at the end 0.667": [[1, 2], [2, 1], [3, 2 / 3]],
        },
    }
    assert rate.lines[0].get_xydata().tolist() == [[1, 0.1], [2, 0.05], [3, 0.1 / 3]]
    assert rate.get_yscale() == "log"


def test_an_outlier_does_not_flatten_the_curves(monkeypatch, tmp_path):
    """One loss of 1,000 among forty of at most 2."""
    figures = []
    monkeypatch.setattr(curves, "save", lambda figure, *_: figures.append(figure))
    row = {"train_error": 50.0, "test_error": 60.0, "train_loss": 1.0, "test_loss": 2.0, "learning_rate": 0.0}
    history = [{**row, "epoch": epoch} for epoch in range(1, 21)]
    history[0] |= {"test_loss": 1000.0}
    curves.draw_curves(history, tmp_path / "curves.png", "a title")
    error, loss, rate = figures[0].axes
    assert error.get_ylim() == (0, pytest.approx(63))
    assert loss.get_ylim() == (0, pytest.approx(2.1))
    assert rate.get_yscale() == "linear"  # a rate of zero has no place on a logarithmic axis
