"""The pictures of an evaluation show its numbers, on the axes that name them."""

from __future__ import annotations

import numpy as np
import pytest

from keras_resnet.evaluation import explanation, pictures


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Draws a picture with a function and arguments; returns its axes."""

    def axes(draw, *arguments):
        figures = []
        for module in (pictures, explanation):
            monkeypatch.setattr(module, "save", lambda figure, *_: figures.append(figure))
        draw(*arguments, tmp_path / "picture.png", title="a title")
        return figures[0].axes

    return axes


def texts(labels):
    return [label.get_text() for label in labels]


def test_a_confusion_matrix_has_true_classes_as_rows_in_percent(drawn):
    """Classes without images have no row; images predicted as one of them are in the last column."""
    matrix = np.array([[15, 4, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 3]])
    axes, _ = drawn(pictures.draw_confusion, matrix, ["ant", "bee", "cat", "dog"])
    assert axes.images[0].get_array().tolist() == [[75, 5, 20], [25, 75, 0]]
    assert (axes.get_ylabel(), texts(axes.get_yticklabels())) == ("true class", ["ant", "dog"])
    assert (axes.get_xlabel(), texts(axes.get_xticklabels())) == ("predicted class", ["ant", "dog", "other classes"])
    numbers = {tuple(text.get_position()): text.get_text() for text in axes.texts}
    assert numbers == {(0, 0): "75", (1, 0): "5.0", (2, 0): "20", (0, 1): "25", (1, 1): "75"}


def test_a_reliability_diagram_has_the_confidence_on_its_horizontal_axis(drawn):
    bins = [
        {"images": 1, "confidence": 0.2, "accuracy": 0.4},
        {"images": 0, "confidence": None, "accuracy": None},
        {"images": 3, "confidence": 0.9, "accuracy": 0.5},
        {"images": 0, "confidence": None, "accuracy": None},
    ]
    calibration = {"expected_calibration_error": 12.5, "negative_log_likelihood": 0.75, "bins": bins}
    upper, lower = drawn(pictures.draw_calibration, calibration)
    assert [(bar.get_x(), bar.get_width(), bar.get_height()) for bar in upper.patches] == [
        (0, 0.25, 0.4),
        (0.25, 0.25, 0),
        (0.5, 0.25, 0.5),
        (0.75, 0.25, 0),
    ]
    means = next(line for line in upper.lines if line.get_label() == "mean of the bin")
    assert means.get_xydata().tolist() == [[0.2, 0.4], [0.9, 0.5]]
    assert [(bar.get_x(), bar.get_height()) for bar in lower.patches] == [(0, 1), (0.25, 0), (0.5, 3), (0.75, 0)]
    assert upper.get_title() == "expected calibration error 12.50 %, negative log-likelihood 0.750"


def test_a_map_lies_upright_over_its_entire_image(drawn):
    """Scaled to its own maximum, so that the strongest region is always the brightest."""
    heat = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 4.0]], "float32")

    def draw(path, title):
        explanation.draw_explanation(np.zeros((20, 30, 3), np.uint8), heat, path, title=title)

    original, overlaid = drawn(draw)
    image, shown = overlaid.images
    assert len(original.images) == 1 and original.images[0].get_extent() == image.get_extent()
    assert shown.get_array().tolist() == [[0, 0.25, 0], [0, 0, 1]]
    assert list(shown.get_extent()) == list(image.get_extent()) and shown.origin == image.origin
    assert shown.get_clim() == (0, 1)
