"""How long a network takes for an image."""

from __future__ import annotations

import statistics
import time

import keras
import numpy as np

from ..data import SIZE

WARM = 3  # calls that trace, compile, and find their algorithms
FEWEST = 10  # calls that are timed


def latency(model: keras.Model, batch_size: int = 1, seconds: float = 1.0) -> float:
    """How long a network takes for a batch on this machine, from an array in memory to an array in memory.

    Whatever else the machine does counts: a latency is that of the machine as it is.

    Args:
        model: takes images as (batch, height, width, channels); a size that it leaves open is 224 pixels.
        batch_size: images a call.
        seconds: about how long to measure.

    Returns:
        Milliseconds: the median of at least ten calls of `predict_on_batch`, behind three that are not counted.
    """
    shape = [side or SIZE for side in model.inputs[0].shape[1:]]
    images = np.zeros((batch_size, *shape), "float32")
    taken: list[float] = []
    while len(taken) < WARM + FEWEST or sum(taken[WARM:]) < seconds:
        begun = time.perf_counter()
        model.predict_on_batch(images)
        taken.append(time.perf_counter() - begun)
    return 1000 * statistics.median(taken[WARM:])
