"""Scores of predicted probabilities: errors with confidence intervals, calibration, and confusion matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix

BINS = 15  # bins of the confidence (Guo et al. 2017)


def score(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Scores the predictions of a test.

    Args:
        probabilities: (n, classes), one row per image.
        labels: (n,), the true classes.

    Returns:
        "images"; "wrong", the number of top-1 errors; "error" and "top5_error" in percent; "error_interval" and
        "top5_error_interval", their 95 % confidence intervals in percent (Wilson 1927); "calibration", the result of
        `calibration`.
    """
    rank = ranks(probabilities, labels)
    return {
        "images": len(rank),
        "wrong": int((rank >= 1).sum()),
        **_error("error", rank >= 1),
        **_error("top5_error", (rank >= 5) | (rank == probabilities.shape[1])),  # not finite, of fewer than 5 classes
        "calibration": calibration(probabilities, labels),
    }


def _error(name: str, wrong: np.ndarray) -> dict[str, Any]:
    interval = binomtest(int(wrong.sum()), len(wrong)).proportion_ci(0.95, method="wilson")
    return {
        name: round(100 * float(wrong.mean()), 4),
        f"{name}_interval": [round(100 * float(end), 4) for end in interval],
    }


def ranks(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the rank of the true class of each image, from 0.

    Ties are counted against the network: classes with the same score rank before the true class. If the score of the
    true class is not finite, its rank is the number of classes.
    """
    true_scores = scores[np.arange(len(labels)), labels][:, None]
    better = (scores > true_scores).sum(axis=1)
    tied = (scores == true_scores).sum(axis=1) - 1
    return np.where(np.isfinite(true_scores[:, 0]), better + tied, scores.shape[1])


def calibration(probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS) -> dict[str, Any] | None:
    """Measures how well a network's confidence agrees with its accuracy.

    Args:
        probabilities: (n, classes), one row per image.
        labels: (n,), the true classes.
        bins: the number of bins of equal width into which the confidence is divided.

    Returns:
        "expected_calibration_error" in percent: the mean absolute difference of confidence and accuracy over the bins,
        weighted by their numbers of images (Guo et al. 2017, section 2); "negative_log_likelihood", the mean in nats,
        where probabilities below 1e-12 count as that much; and "bins" with the "images", "confidence" and "accuracy"
        of each bin, the latter two None if it is empty.
        None if the rows are not probabilities.
    """
    if not np.allclose(probabilities.sum(axis=1), 1, atol=1e-3):  # NaNs fail this check, too
        return None
    confidence = probabilities.max(axis=1).astype("float64")
    correct = ranks(probabilities, labels) == 0
    bin_of_image = np.clip(np.ceil(bins * confidence).astype(int) - 1, 0, bins - 1)
    images, confidence_sums, correct_counts = (
        np.bincount(bin_of_image, weights, bins) for weights in (None, confidence, correct)
    )
    likelihood = probabilities[np.arange(len(labels)), labels].astype("float64")
    calibration_error = np.abs(confidence_sums - correct_counts).sum() / len(labels)
    return {
        "expected_calibration_error": round(100 * float(calibration_error), 4),
        "negative_log_likelihood": round(float(-np.log(np.maximum(likelihood, 1e-12)).mean()), 4),
        "bins": [
            {
                "images": int(count),
                "confidence": round(float(confidence_sums[row] / count), 4) if count else None,
                "accuracy": round(float(correct_counts[row] / count), 4) if count else None,
            }
            for row, count in enumerate(images)
        ],
    }


def confusion(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the number of images of each class (rows) that were predicted as each class (columns).

    As in `ranks`, a tie is counted against the network, so that the diagonal has all images whose rank is 0.
    """
    predicted, wrong = probabilities.argmax(axis=1), ranks(probabilities, labels) >= 1
    tied = np.flatnonzero(wrong & (predicted == labels))
    others = probabilities[tied].copy()
    others[np.arange(len(tied)), labels[tied]] = -np.inf
    predicted[tied] = others.argmax(axis=1)
    return confusion_matrix(labels, predicted, labels=np.arange(probabilities.shape[1]))


def by_class(matrix: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the scores of each class that has images.

    Args:
        matrix: the result of `confusion`.
        names: one name per class.

    Returns:
        One dict per class: "class" (its index), "name", "images", "right" (the number of correct predictions),
        "accuracy" in percent, and "taken_for": the "name" of the class that it is most often confused with and the
        number of these "images", or None if all predictions are correct.
    """
    rows = []
    for index in np.flatnonzero(matrix.sum(axis=1)).tolist():
        images, correct = int(matrix[index].sum()), int(matrix[index, index])
        errors = matrix[index].copy()
        errors[index] = 0
        commonest = int(errors.argmax())
        rows.append(
            {
                "class": index,
                "name": names[index],
                "images": images,
                "right": correct,
                "accuracy": round(100 * correct / images, 4),
                "taken_for": {"name": names[commonest], "images": int(errors[commonest])} if errors.any() else None,
            }
        )
    return rows
