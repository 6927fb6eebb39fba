"""The pictures of a search show its trials, on the axes that name them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from keras_resnet.drawing import ACCENT
from keras_resnet.tuning import pictures
from keras_resnet.tuning.dimensions import Dimension
from keras_resnet.tuning.space import Space
from trials import write_history

SPACE = Space(
    (
        Dimension("shortcut", values=("A", "B", "C"), default="A"),
        Dimension("learning_rate", ends=(0.01, 1.0), default=0.1),
    )
)


def trial(number, error, macs, budget=9, status="done", **values):
    """The result of a trial."""
    values = {"shortcut": "A", "learning_rate": 0.1, **values}
    result = {"trial": str(number), "error": error, "score": error, "macs": macs, "budget": budget, "epochs": budget}
    return {**result, "status": status, "values": values}


TRIALS = [
    trial(0, 20.0, 4_000_000),
    trial(1, 30.0, 2_000_000, shortcut="C", learning_rate=1.0),
    trial(2, 40.0, 5_000_000, learning_rate=0.01),
    trial(3, 10.0, 1_000_000, budget=3, shortcut="C"),
]


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Calls a drawing function with the path and title of a picture; returns the picture's visible axes."""

    def axes(draw):
        figures = []
        monkeypatch.setattr(pictures, "save", lambda figure, *_: figures.append(figure))
        draw(tmp_path / "picture.png", "a title")
        return [each for each in figures[0].axes if each.get_visible()]

    return axes


def test_the_front_is_that_of_completed_trials_in_million_multiply_adds(drawn):
    (axes,) = drawn(lambda path, title: pictures.draw_front(TRIALS, path, title, target=3_000_000))
    scattered = {marks.get_label(): marks.get_offsets().tolist() for marks in axes.collections}
    assert scattered == {
        "completed trial": [[4, 20], [2, 30], [5, 40]],
        "short, stopped early or failed": [[1, 10]],
    }
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["Pareto front"].get_xydata().tolist() == [[2, 30], [4, 20]]
    assert lines["Pareto front"].get_drawstyle() == "steps-post"  # up to 4 million, 30 % is the best there is
    assert set(lines["target"].get_xdata()) == {3}
    assert (axes.get_xlabel(), axes.get_xscale()) == ("million multiply-adds per image", "log")


def test_each_dimension_has_the_errors_of_its_values_and_the_medians_of_completed_trials(drawn):
    shortcut, rate = drawn(lambda path, title: pictures.draw_dimensions(TRIALS, SPACE, path, title))
    assert (shortcut.get_xlabel(), rate.get_xlabel()) == ("shortcut", "learning_rate")
    assert [label.get_text() for label in shortcut.get_xticklabels()] == ["A", "B", "C"]
    completed, others = shortcut.lines
    assert np.round(completed.get_xydata()).tolist() == [[0, 20], [2, 30], [0, 40]]
    assert np.round(others.get_xydata()).tolist() == [[2, 10]]
    medians = [marks.get_segments()[0].tolist() for marks in shortcut.collections]
    assert medians == [[[-0.3, 30], [0.3, 30]], [[1.7, 30], [2.3, 30]]]  # the short trial of C does not count
    assert rate.lines[0].get_xydata().tolist() == [[0.1, 20], [1, 30], [0.01, 40]]
    assert (rate.get_xscale(), rate.get_xlim()) == ("log", (0.01, 1.0))


@pytest.mark.parametrize(("low", "high"), [(0.02, 0.3), (0.01, 0.5), (0.01, 1), (1e-5, 1e-3), (0.001, 1), (1e-6, 10)])
def test_the_numbers_below_a_range_do_not_touch(drawn, low, high):
    rows = tuple(Dimension(name, ends=(low, high), default=high) for name in ("learning_rate", "weight_decay"))
    trials = [trial(0, 20.0, 1, learning_rate=high, weight_decay=high)]
    axes, _ = drawn(lambda path, title: pictures.draw_dimensions(trials, Space(rows), path, title))
    axes.figure.draw_without_rendering()
    ticks = [tick for tick in axes.xaxis.get_major_ticks() if low * 0.999 <= tick.get_loc() <= high * 1.001]
    labels = [tick.label1.get_window_extent() for tick in ticks]
    assert len(labels) >= 3
    assert all(one.x1 + 3 < other.x0 for one, other in itertools.pairwise(labels))


def test_panels_without_a_dimension_are_hidden(drawn):
    """Five dimensions in lines of four panels."""
    others = {"width": 1.0, "momentum": 0.9, "weight_decay": 1e-4}
    space = Space((*SPACE.dimensions, *(Dimension(name, values=(value, 0.5)) for name, value in others.items())))
    trials = [trial(0, 20.0, 1, **others)]
    axes = drawn(lambda path, title: pictures.draw_dimensions(trials, space, path, title))
    assert [each.get_xlabel() for each in axes] == ["shortcut", "learning_rate", "width", "momentum", "weight_decay"]


def test_the_best_trial_has_the_curve_that_stands_out(drawn, tmp_path):
    for number, errors in enumerate([(50, 20), (60, 30)]):
        write_history(pictures.history_file(tmp_path, str(number)), *errors)
    ranked = [trial(0, 20.0, 1, budget=2), trial(1, 30.0, 1, budget=2), trial(2, 40.0, 1, budget=2)]  # one has none
    (axes,) = drawn(lambda path, title: pictures.draw_curves(ranked, tmp_path, path, title))
    other, best = axes.lines
    assert best.get_xydata().tolist() == [[1, 50], [2, 20]]
    assert (best.get_label(), best.get_color()) == ("trial 1: 20.00 %", ACCENT)
    assert other.get_xydata().tolist() == [[1, 60], [2, 30]]


def test_parallel_lines_go_through_the_values_and_better_ones_are_darker(drawn):
    """Values of a choice are evenly spaced from 0 to 1, those of a range in its logarithm if it is sampled so."""
    axes, _ = drawn(lambda path, title: pictures.draw_parallel(TRIALS[:3], SPACE, path, title))
    worst, middle, best = (line for line in axes.lines if len(line.get_ydata()) == 2 and line.get_zorder() > 1)
    assert best.get_ydata() == pytest.approx([0, 0.5])
    assert middle.get_ydata() == pytest.approx([1, 1])
    assert worst.get_ydata() == pytest.approx([0, 0])

    def luminance(line):
        return np.dot(to_rgba(line.get_color())[:3], (0.299, 0.587, 0.114))

    assert luminance(best) < luminance(middle) < luminance(worst)
