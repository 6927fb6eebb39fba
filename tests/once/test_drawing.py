"""Plots show names literally and numbers plainly."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure
from matplotlib.testing.compare import compare_images

from keras_resnet.drawing import save, vertically_logarithmic


def test_dollar_signs_do_not_begin_a_formula(tmp_path):
    """Text between two of them would be typeset in italics, or raise an error if it is not a valid formula."""
    for name, title in (("odd", r"runs/$\frac$-net"), ("even", "cash $x$")):
        save(Figure(figsize=(3, 1)), tmp_path / f"{name}.png", title)
    figure = Figure(figsize=(3, 1))
    figure.suptitle("cash $x$", fontsize=10, parse_math=False)
    figure.savefig(tmp_path / "expected.png")
    assert compare_images(str(tmp_path / "expected.png"), str(tmp_path / "even.png"), tol=0) is None


@pytest.mark.parametrize(
    ("values", "labels"),
    [((0.3, 3), {"0.5", "1", "2"}), ((1e-4, 10), {"$\\mathdefault{10^{-2}}$", "$\\mathdefault{10^{0}}$"})],
)
def test_a_logarithmic_axis_of_less_than_two_decades_has_plain_labels(values, labels):
    figure = Figure()
    axes = figure.subplots()
    axes.plot(values)
    vertically_logarithmic(axes)
    figure.draw_without_rendering()
    assert labels <= {label.get_text() for label in axes.get_yticklabels()}
