"""Plots show names literally, numbers plainly, and lines that can be told apart."""

from __future__ import annotations

import os

import pytest
from matplotlib.figure import Figure
from matplotlib.testing.compare import compare_images

from keras_resnet.drawing import draw_line, legend_below, save, styles, vertically_logarithmic, whole_numbers


def test_dollar_signs_do_not_begin_a_formula(tmp_path):
    """Text between two of them would be typeset in italics, or raise an error if it is not a valid formula."""
    for name, title in (("odd", r"runs/$\frac$-net"), ("even", "cash $x$")):
        save(Figure(figsize=(3, 1)), tmp_path / f"{name}.png", title)
    figure = Figure(figsize=(3, 1))
    figure.suptitle("cash $x$", fontsize=10, parse_math=False)
    figure.savefig(tmp_path / "expected.png")
    assert compare_images(str(tmp_path / "expected.png"), str(tmp_path / "even.png"), tol=0) is None


def test_a_name_that_is_not_utf_8_is_escaped_in_a_title_and_a_legend(tmp_path):
    for file, name in (("bytes", os.fsdecode(b"caf\xe9")), ("expected", r"caf\udce9")):
        figure = Figure(figsize=(3, 2))
        axes = figure.subplots()
        draw_line(axes, (1, 2), (1, 2), styles([name])[name])
        axes.legend()
        save(figure, tmp_path / f"{file}.png", name)
    assert compare_images(str(tmp_path / "expected.png"), str(tmp_path / "bytes.png"), tol=0) is None


@pytest.mark.parametrize(
    "title", ["resnet110 (skip exclusive_gating; gate_bias -6.0; order full_preactivation) on cifar10", "runs/" * 30]
)
@pytest.mark.parametrize("width", [5.6, 9.6])
def test_a_long_title_is_wrapped_and_not_clipped(title, width, tmp_path):
    figure = Figure(figsize=(width, 4), layout="constrained")
    figure.subplots()
    save(figure, tmp_path / "figure.png", f"{title}\na second line")
    box = figure._suptitle.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1
    first, last = figure.get_suptitle().rsplit("\n", 1)
    assert (first.replace("\n", "").replace(" ", ""), last) == (title.replace(" ", ""), "a second line")


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


@pytest.mark.parametrize(
    ("epochs", "ticks"), [([1], [1]), ([1, 2], [1, 2]), (range(1, 9), range(1, 9)), (range(1, 165), range(0, 161, 20))]
)
def test_epochs_have_ticks_at_whole_numbers_even_if_there_is_a_single_one(epochs, ticks):
    figure = Figure(figsize=(9, 3))
    axes = figure.subplots()
    axes.plot(epochs, epochs, "o")
    whole_numbers(axes.xaxis)
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == list(ticks)


@pytest.mark.parametrize("values", [(0.6, 1.7), (0.0005, 0.0017), (2.1, 3.9)])
def test_a_logarithmic_axis_of_less_than_a_decade_has_a_scale(values):
    """A single labelled tick would tell no scale."""
    figure = Figure()
    axes = figure.subplots()
    axes.plot(values)
    vertically_logarithmic(axes)
    figure.draw_without_rendering()
    low, high = axes.get_ylim()
    ticks = [float(label.get_text()) for label in axes.get_yticklabels() if label.get_text()]
    assert sum(low <= tick <= high for tick in ticks) >= 3


def test_many_lines_differ_in_colour_or_marker():
    looks = styles([f"network {index}" for index in range(70)]).values()
    assert len({(look["color"], look["marker"]) for look in looks}) == 70
    assert len({look["color"] for look in list(looks)[:10]}) == 10


@pytest.mark.parametrize(
    "names",
    [
        ["resnet8"],
        ["_mine.keras", "runs/" + "long" * 60],
        [f"resnet{6 * n + 2} (skip constant_scaling; shortcut_scale 0.5)" for n in range(12)],
    ],
)
def test_a_legend_hides_nothing_and_has_all_names(names, tmp_path):
    figure = Figure(figsize=(9.6, 4), layout="constrained")
    panels = figure.subplots(1, 2)
    looks = styles(names)
    for index, name in enumerate(names):
        for axes in panels:
            draw_line(axes, range(100), [index] * 100, looks[name])
    legend_below(panels[0], figure)
    save(figure, tmp_path / "figure.png", "a title")
    (legend,) = figure.legends
    assert [text.get_text().strip().replace("\n", "") for text in legend.get_texts()] == names
    box = legend.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1
    for axes in panels:
        assert not box.overlaps(axes.get_tightbbox())
        assert axes.get_position().height > 0.4
