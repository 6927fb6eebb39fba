"""The pictures of the analyses show the numbers of the results, on the axes that name them."""

from __future__ import annotations

import numpy as np
import pytest

from keras_resnet.analysis.analyses import module_of


@pytest.fixture
def panels(monkeypatch, tmp_path):
    """Draws the results of an analysis, by network; returns the axes of the picture."""

    def drawn(name, networks):
        figures, module = [], module_of(name)
        monkeypatch.setattr(module, "save", lambda figure, *_: figures.append(figure))
        module.draw(networks, tmp_path / "picture.png", "a title")
        return figures[0].axes

    return drawn


def points(line):
    """The points of a line as pairs (x, y)."""
    return np.array(line.get_xydata(), float).tolist()


def test_responses_are_drawn_by_layer_and_sorted(panels):
    layers = [{"layer": str(number), "deviation": value} for number, value in enumerate((0.3, 0.1, 0.2))]
    upper, lower = panels("responses", {"a network": layers})
    assert points(upper.lines[0]) == [[1, 0.3], [2, 0.1], [3, 0.2]]
    assert points(lower.lines[0]) == [[1, 0.3], [2, 0.2], [3, 0.1]]
    assert (upper.get_xlabel(), upper.get_ylabel()) == ("layer, from input to output", "standard deviation")
    assert lower.get_xlabel() == "layer, sorted by standard deviation"


def test_lesions_are_drawn_from_the_unchanged_network_on(panels):
    result = {
        "error": 5.0,
        "deleted": {"stage1_unit1": 40.0, "stage1_unit2": 7.0},
        "several": [{"units": 1, "error": 20.0}, {"units": 3, "error": 60.0}],
        "swapped": [
            {"swaps": 1, "correlation": 0.5, "error": 50.0},
            {"swaps": 2, "correlation": 0.75, "error": 30.0},
        ],
    }
    one, several, swapped = panels("lesions", {"a network": result})
    errors, unchanged = one.lines
    assert points(errors) == [[1, 40.0], [2, 7.0]]
    assert set(unchanged.get_ydata()) == {5.0} and unchanged.get_color() == errors.get_color()
    assert points(several.lines[0]) == [[0, 5.0], [1, 20.0], [3, 60.0]]
    assert points(swapped.lines[0]) == [[1, 5.0], [0.75, 30.0], [0.5, 50.0]]  # a line, not a zigzag
    assert swapped.xaxis_inverted()
    assert [axes.get_xlabel().partition(",")[0] for axes in (one, several, swapped)] == [
        "the unit that is left out",
        "units left out at random",
        "Kendall's tau of the units' order",
    ]


def test_paths_are_drawn_by_length(panels):
    rows = [
        {"length": length, "paths": 0.1 + length, "gradient": 0.2 + length, "share": 0.3 + length} for length in (0, 1)
    ]
    axes = panels("paths", {"a network": {"lengths": rows}})
    for each, first, words in zip(axes, (0.1, 0.2, 0.3), ("all paths", "path", "share of the gradient"), strict=True):
        assert points(each.lines[0]) == [[0, first], [1, 1 + first]]
        assert words in each.get_ylabel()
    assert [each.get_yscale() for each in axes] == ["linear", "log", "linear"]


def test_gradients_are_drawn_by_depth_and_by_distance(panels):
    """Distances are in percent of the line; at a distance of 0, the correlation is 1."""
    units = [
        {"unit": "stage1_unit1", "number": 1, "correlation": [0.9, 0.8], "matrix": np.eye(3).tolist()},
        {"unit": "stage3_unit2", "number": 6, "correlation": [0.5, 0.4], "matrix": np.full((3, 3), 0.5).tolist()},
    ]
    by_depth, by_distance, matrix, *_ = panels("gradients", {"a network": {"step": 0.25, "units": units}})
    assert points(by_depth.lines[0]) == [[1, 0.9], [6, 0.5]]
    assert points(by_distance.lines[0]) == [[0, 1], [25, 0.5], [50, 0.4]]
    assert matrix.images[0].get_array().tolist() == units[-1]["matrix"]  # of the last unit


def test_the_identity_of_units_is_drawn_with_gaps_where_it_is_not_defined(panels):
    units = [
        {"unit": "stage1_unit1", "ratio": 0.5, "change": 0.25, "gain": 2.0},
        {"unit": "stage2_unit1", "ratio": 1.5, "change": None, "gain": 3.0},
    ]
    noise = [{"noise": 1.0, "logits": 0.1, "decisions": 4.0}, {"noise": 2.0, "logits": 0.2, "decisions": 9.0}]
    ratio, change, gain, decisions = panels("identity", {"a network": {"units": units, "noise": noise}})
    assert points(ratio.lines[0]) == [[1, 0.5], [2, 1.5]]
    assert points(gain.lines[0]) == [[1, 2.0], [2, 3.0]]
    np.testing.assert_array_equal(change.lines[0].get_ydata(), [0.25, np.nan])
    assert points(decisions.lines[0]) == [[0, 0], [1, 4], [2, 9]]
    words = ("residual / shortcut", "input", "relative change", "decisions")
    for axes, word in zip((ratio, change, gain, decisions), words, strict=True):
        assert word in axes.get_ylabel()


def test_propagation_is_drawn_from_the_stem_on(panels):
    units = [
        {"unit": "stem", "signal": 2.0, "gradient": 3.0, "product": 0.25},
        {"unit": "stage1_unit1", "signal": 4.0, "gradient": 5.0, "product": 1.0},
    ]
    axes = panels("propagation", {"a network": {"units": units}})
    assert {each.get_ylabel(): points(each.lines[0]) for each in axes} == {
        "root mean square of the output": [[0, 2.0], [1, 4.0]],
        "norm of the loss's gradient at the output": [[0, 3.0], [1, 5.0]],
        "product of the later shortcuts' factors": [[0, 0.25], [1, 1.0]],
    }


@pytest.mark.parametrize(
    ("name", "result", "line"),
    [
        ("responses", [{"deviation": 0.25}, {"deviation": 0.75}], "2 layers, standard deviation 0.500 on average"),
        (
            "lesions",
            {"error": 5.0, "deleted": {"stage1_unit1": 40.0, "stage1_unit2": 8.0}},
            "5.00 % error; without one of 2 units 24.00 % on average, at worst 40.00 %, without stage1_unit1",
        ),
        ("lesions", {"error": 5.0, "deleted": {}}, "5.00 % error; it has no unit that can be left out"),
        (
            "paths",
            {"from": 2, "to": 5, "units": 9, "effective_length": 3.25},
            "90 % of the gradient flows along paths through 2 to 5 of 9 units, 3.2 on average",
        ),
        (
            "gradients",
            {"step": 0.03226, "units": [{"unit": "a", "correlation": [0.9, 0]}, {"unit": "b", "correlation": [0.5]}]},
            "correlation of gradients 3.2 % of a line apart: 0.90 after a, 0.50 after b",
        ),
        (
            "identity",
            {
                "units": [{"ratio": 0.5}, {"ratio": 0.6}, {"ratio": None}],
                "noise": [{"noise": float(n), "decisions": 10.0 * n} for n in (1, 2, 4, 8)],
                "depth_used": 1.6,
            },
            "residuals are 0.55 of the shortcut on average, spread over 1.6 of 3 units; "
            "noise of 4 in 255 changes 40.0 % of the decisions",
        ),
        (
            "propagation",
            {
                "units": [
                    {"signal": 2.0, "gradient": 8.0, "product": 0.25},
                    {"signal": 6.0, "gradient": 4.0, "product": 1.0},
                ]
            },
            "signal times 3 from the stem to the last unit, gradient times 2 from there back to the stem; "
            "product of the shortcuts' factors 0.25",
        ),
    ],
)
def test_a_line_states_the_result(name, result, line):
    assert module_of(name).summary_line(result) == line
