"""Measurement of a network's inference latency."""

from __future__ import annotations

import statistics
import time

import keras
import numpy as np

from ..data import SIZE

WARM_UP_CALLS = 3  # calls that trace, compile and select algorithms
MIN_TIMED_CALLS = 10


def latency(model: keras.Model, batch_size: int = 1, seconds: float = 1.0) -> float:
    """Measures how long a network takes for a batch on this machine, from array to array in host memory.

    The result includes the effect of any other load on the machine.

    Args:
        model: takes images as (batch, height, width, channels); a dimension that is None is measured at 224 pixels.
        batch_size: the number of images per call.
        seconds: the approximate duration of the measurement.

    Returns:
        Milliseconds: the median of at least ten calls of `predict_on_batch`, after three warm-up calls.
    """
    shape = [side or SIZE for side in model.inputs[0].shape[1:]]
    images = np.zeros((batch_size, *shape), "float32")
    durations: list[float] = []
    while len(durations) < WARM_UP_CALLS + MIN_TIMED_CALLS or sum(durations[WARM_UP_CALLS:]) < seconds:
        start = time.perf_counter()
        model.predict_on_batch(images)
        durations.append(time.perf_counter() - start)
    return 1000 * statistics.median(durations[WARM_UP_CALLS:])
