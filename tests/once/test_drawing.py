"""Plots show names literally."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.testing.compare import compare_images

from keras_resnet.drawing import save


def test_dollar_signs_do_not_begin_a_formula(tmp_path):
    """Text between two of them would be typeset in italics, or raise an error if it is not a valid formula."""
    for name, title in (("odd", r"runs/$\frac$-net"), ("even", "cash $x$")):
        save(Figure(figsize=(3, 1)), tmp_path / f"{name}.png", title)
    figure = Figure(figsize=(3, 1))
    figure.suptitle("cash $x$", fontsize=10, parse_math=False)
    figure.savefig(tmp_path / "expected.png")
    assert compare_images(str(tmp_path / "expected.png"), str(tmp_path / "even.png"), tol=0) is None
