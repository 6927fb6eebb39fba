"""Scores, compared with values from the literature and with NumPy, one row at a time."""

from __future__ import annotations

import numpy as np
import pytest

from keras_resnet.evaluation import scores


def sure(labels, classes=12):
    """One row per image with probability 1 for the given class."""
    return np.eye(classes, dtype="float32")[labels]


@pytest.mark.parametrize(
    ("wrong", "images", "low", "high"),
    [  # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_intervals_are_wilsons(wrong, images, low, high):
    labels = np.zeros(images, int)
    score = scores.score(sure((np.arange(images) < wrong).astype(int), 2), labels)
    assert score["wrong"] == wrong
    assert score["error_interval"] == pytest.approx([100 * low, 100 * high], abs=0.006)


def test_errors_equal_those_of_sorted_rows():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(12), 200).astype("float32")
    labels = rng.integers(0, 12, 200)
    score = scores.score(probabilities, labels)
    ranks = [sorted(row, reverse=True).index(row[label]) for row, label in zip(probabilities, labels, strict=True)]
    assert score["wrong"] == sum(rank >= 1 for rank in ranks)
    assert score["error"] == pytest.approx(100 * score["wrong"] / 200)
    assert score["top5_error"] == pytest.approx(100 * sum(rank >= 5 for rank in ranks) / 200)


def test_a_prediction_that_is_not_a_number_is_wrong_also_among_fewer_than_five_classes():
    score = scores.score(np.array([[np.nan] * 3, [0.2, 0.3, 0.5]]), np.array([1, 0]))
    assert (score["error"], score["top5_error"]) == (100, 50)


@pytest.mark.parametrize("rows", [[[0.2] * 5], [[np.nan] * 5], [[0.4, 0.4, 0.1, 0.1, 0.0], [0.1, 0.0, 0.2, 0.3, 0.4]]])
def test_classes_and_calibration_count_a_tie_as_wrong_as_the_error_does(rows):
    probabilities, labels = np.resize(rows, (60, 5)), np.arange(60) % 5
    score = scores.score(probabilities, labels)
    confusion = scores.confusion(probabilities, labels)
    assert confusion.sum() == 60
    assert np.trace(confusion) == 60 - score["wrong"]
    if score["calibration"]:
        correct = sum(row["images"] * (row["accuracy"] or 0) for row in score["calibration"]["bins"])
        assert correct == pytest.approx(60 - score["wrong"], abs=0.01)


def test_an_image_with_a_tie_is_predicted_as_the_other_class():
    probabilities = np.array([[0.4, 0.2, 0.4], [0.4, 0.2, 0.4], [0.4, 0.2, 0.4]])
    assert scores.confusion(probabilities, np.array([0, 1, 2])).tolist() == [[0, 0, 1], [1, 0, 0], [1, 0, 0]]


def test_a_network_whose_accuracy_equals_its_confidence_is_calibrated():
    """Of images with a confidence of 0.8, four in five are right; of those with 0.6, three."""
    probabilities = np.array(10 * [[0.8, 0.2]] + 10 * [[0.6, 0.4]])
    labels = np.array(8 * [0] + 2 * [1] + 6 * [0] + 4 * [1])
    result = scores.calibration(probabilities, labels)
    assert result["expected_calibration_error"] == pytest.approx(0, abs=1e-3)
    expected = -(8 * np.log(0.8) + 2 * np.log(0.2) + 6 * np.log(0.6) + 4 * np.log(0.4)) / 20
    assert result["negative_log_likelihood"] == pytest.approx(expected, abs=1e-3)


def test_the_calibration_error_is_the_difference_of_confidence_and_accuracy():
    probabilities = np.array(5 * [[0.9, 0.1]] + 15 * [[0.3, 0.7]])
    labels = np.array(5 * [1] + 15 * [1])
    result = scores.calibration(probabilities, labels)
    assert result["expected_calibration_error"] == pytest.approx(100 * (5 * 0.9 + 15 * 0.3) / 20, abs=1e-3)
    filled = [row for row in result["bins"] if row["images"]]
    assert filled == [
        {"images": 15, "confidence": 0.7, "accuracy": 1.0},
        {"images": 5, "confidence": 0.9, "accuracy": 0.0},
    ]
    assert len(result["bins"]) == 15


def test_every_confidence_has_a_bin():
    probabilities = np.array([[1.0, 0.0], [0.5, 0.5], [0.2 + 1e-9, 0.8 - 1e-9]])
    result = scores.calibration(probabilities, np.zeros(3, int))
    assert sum(row["images"] for row in result["bins"]) == 3


@pytest.mark.parametrize("row", [[3.0, 4.0], [np.nan, 0.5]])
def test_rows_that_are_no_probabilities_have_no_calibration(row):
    assert scores.calibration(np.array([[0.5, 0.5], row]), np.zeros(2, int)) is None


def test_confusion_and_scores_by_class():
    labels = np.array([0, 0, 0, 0, 2, 2])
    matrix = scores.confusion(sure([0, 1, 1, 2, 2, 2], 4), labels)
    np.testing.assert_array_equal(matrix, [[1, 2, 1, 0], [0, 0, 0, 0], [0, 0, 2, 0], [0, 0, 0, 0]])
    assert scores.by_class(matrix, ["a", "b", "c", "d"]) == [
        {
            "class": 0,
            "name": "a",
            "images": 4,
            "right": 1,
            "accuracy": 25.0,
            "taken_for": {"name": "b", "images": 2},
        },
        {"class": 2, "name": "c", "images": 2, "right": 2, "accuracy": 100.0, "taken_for": None},
    ]


def test_a_confidence_between_two_bins_is_in_the_lower_one():
    """Guo et al. 2017, section 2: the bins are the intervals ((m - 1) / M, m / M]."""
    result = scores.calibration(np.array([[0.5, 0.5], [0.75, 0.25], [1.0, 0.0]]), np.zeros(3, int), bins=2)
    assert [row["images"] for row in result["bins"]] == [1, 2]


def test_an_image_whose_class_has_no_probability_counts_with_a_trillionth():
    """Its logarithm would be infinite, and the mean of all images with it."""
    result = scores.calibration(sure([0, 1], 2), np.array([0, 0]))
    assert result["negative_log_likelihood"] == pytest.approx(-np.log(1e-12) / 2, abs=1e-3)


@pytest.mark.parametrize("row", [[0.5, 0.45], [0.6, 0.45]])
def test_rows_whose_sum_is_only_close_to_one_have_no_calibration(row):
    """Such as logits, which may be near one by chance."""
    assert scores.calibration(np.array([[0.5, 0.5], row]), np.zeros(2, int)) is None
