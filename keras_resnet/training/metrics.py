"""The accuracy of a run, counted exactly."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable("keras_resnet")
class Accuracy(keras.metrics.CategoricalAccuracy):
    """Categorical accuracy in which an image counts once or, if its weight is zero, not at all."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        counted = None if sample_weight is None else keras.ops.cast(sample_weight > 0, "float32")
        super().update_state(y_true, y_pred, counted)


def percent_error(accuracy: Any) -> float:
    """Returns the top-1 error in percent for an accuracy between 0 and 1."""
    return round(100 * (1 - float(accuracy)), 4)
