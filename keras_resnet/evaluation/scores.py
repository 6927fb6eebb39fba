"""What probabilities are worth: errors with their intervals, calibration, and what was taken for what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix

BINS = 15  # of the confidence (Guo et al. 2017)


def score(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Scores a test.

    Args:
        probabilities: (n, classes), a row an image.
        labels: (n,), the right classes.

    Returns:
        "images", "wrong" (top-1), "error" and "top5_error" in percent; "error_interval" and "top5_error_interval", each
        the 95 % interval of Wilson 1927 in percent; "calibration", see `calibration`.
    """
    rank = ranks(probabilities, labels)
    return {
        "images": len(rank),
        "wrong": int((rank >= 1).sum()),
        **_error("error", rank >= 1),
        **_error("top5_error", rank >= 5),
        "calibration": calibration(probabilities, labels),
    }


def _error(name: str, wrong: np.ndarray) -> dict[str, Any]:
    interval = binomtest(int(wrong.sum()), len(wrong)).proportion_ci(0.95, method="wilson")
    return {
        name: round(100 * float(wrong.mean()), 4),
        f"{name}_interval": [round(100 * float(end), 4) for end in interval],
    }


def ranks(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The place of the right class, from 0. A tie, or a NaN, is not a hit: it must stand alone or come first."""
    right = scores[np.arange(len(labels)), labels][:, None]
    better = (scores > right).sum(axis=1)  # classes placed before the right one
    tied = (scores == right).sum(axis=1) - 1
    return np.where(np.isfinite(right[:, 0]), better + tied, scores.shape[1])


def calibration(probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS) -> dict[str, Any] | None:
    """Whether a network is as often right as it says.

    Returns:
        "expected_calibration_error" in percent: the mean distance of confidence and accuracy over equal bins of the
        confidence, weighted by their images (Guo et al. 2017, section 2); "negative_log_likelihood", a mean in nats;
        and for each bin "images", "confidence" and "accuracy", of which the last two are None where it is empty.
        None where the rows are no probabilities.
    """
    if not np.allclose(probabilities.sum(axis=1), 1, atol=1e-3):  # also where one is NaN
        return None
    confidence = probabilities.max(axis=1).astype("float64")
    right = probabilities.argmax(axis=1) == labels
    place = np.clip(np.ceil(bins * confidence).astype(int) - 1, 0, bins - 1)
    images, sure, hit = (np.bincount(place, weights, bins) for weights in (None, confidence, right))
    likelihood = probabilities[np.arange(len(labels)), labels].astype("float64")
    return {
        "expected_calibration_error": round(100 * float(np.abs(sure - hit).sum() / len(labels)), 4),
        "negative_log_likelihood": round(float(-np.log(np.maximum(likelihood, 1e-12)).mean()), 4),
        "bins": [
            {
                "images": int(count),
                "confidence": round(float(sure[row] / count), 4) if count else None,
                "accuracy": round(float(hit[row] / count), 4) if count else None,
            }
            for row, count in enumerate(images)
        ],
    }


def confusion(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many images of each class (rows) were taken for each class (columns)."""
    return confusion_matrix(labels, probabilities.argmax(axis=1), labels=np.arange(probabilities.shape[1]))


def by_class(matrix: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """Of each class that has images: "class", "name", "images", "right", "accuracy" in percent and "taken_for".

    The last is the class that its wrong images are most often taken for, and how many: None where all are right.

    Args:
        matrix: what `confusion` returns.
        names: a name a class.
    """
    rows = []
    for number in np.flatnonzero(matrix.sum(axis=1)):
        images, right = int(matrix[number].sum()), int(matrix[number, number])
        wrong = matrix[number].copy()
        wrong[number] = 0
        most = int(wrong.argmax())
        rows.append(
            {
                "class": int(number),
                "name": names[number],
                "images": images,
                "right": right,
                "accuracy": round(100 * right / images, 4),
                "taken_for": {"name": names[most], "images": int(wrong[most])} if wrong[most] else None,
            }
        )
    return rows
