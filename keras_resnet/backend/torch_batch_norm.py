"""Batch normalisation as Torch computes it best, and the moving averages of a whole model at once."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import torch
from keras import layers
from keras.src.backend.common.stateless_scope import in_stateless_scope


def value(variable: Any, dtype: torch.dtype | None = None) -> torch.Tensor:
    """A variable's tensor as it lies there. `variable.value`, which is another in a stateless scope, takes 9 us.

    Args:
        variable: Keras's.
        dtype: that it is wanted in; None for the variable's.
    """
    tensor = variable.value if in_stateless_scope() else variable._value
    return tensor if dtype is None or tensor.dtype is dtype else tensor.to(dtype)


class Averages:
    """The moving averages that the layers of a model will have moved at the end of its call.

    All are moved by a few operations: one by one they take as long as a small network's convolutions.
    """

    def __init__(self) -> None:
        self._moves: dict[tuple[float, float], list[tuple[Any, ...]]] = {}

    def note(self, layer: layers.BatchNormalization, mean: torch.Tensor, inverse_deviation: torch.Tensor) -> None:
        """Notes the statistics of a batch, towards which a layer's averages are to move."""
        averages = layer.moving_mean._value, layer.moving_variance._value
        alike = self._moves.setdefault((layer.momentum, layer.epsilon), [])
        alike.append((*averages, mean, inverse_deviation))

    @torch.no_grad()
    def move(self) -> None:
        """Moves all the averages that have been noted."""
        for (momentum, epsilon), moves in self._moves.items():
            means, variances, new_means, deviations = zip(*moves, strict=True)
            new_variances = torch._foreach_pow(deviations, -2)
            torch._foreach_sub_(new_variances, epsilon)
            averages, values = [*means, *variances], [*new_means, *new_variances]
            if len(set(map(id, averages))) == len(averages):
                torch._foreach_lerp_(averages, values, 1.0 - momentum)
            else:  # of a layer that was called twice
                for average, value in zip(averages, values, strict=True):
                    average.lerp_(value, 1.0 - momentum)


class _Thread(threading.local):
    averages: Averages | None = None  # of the model that is being called


_here = _Thread()


@contextlib.contextmanager
def together() -> Iterator[None]:
    """In which a model is called; models within it belong to it."""
    if _here.averages is not None:
        yield
        return
    _here.averages = Averages()
    try:
        yield
        _here.averages.move()
    finally:
        _here.averages = None


def batch_norm(layer: layers.BatchNormalization, x: torch.Tensor, of_batch: bool) -> torch.Tensor:
    """What a batch normalisation gives for images as Torch has them; see `keras_resnet.backend.batch_norm`."""
    gamma, beta = value(layer.gamma), value(layer.beta)
    if not of_batch:
        mean, variance = value(layer.moving_mean), value(layer.moving_variance)
        cudnn = torch.backends.cudnn.enabled
        return torch.batch_norm(x, gamma, beta, mean, variance, False, 0.0, layer.epsilon, cudnn)
    normalised, mean, deviation = torch.native_batch_norm(x, gamma, beta, None, None, True, 0.0, layer.epsilon)
    if _here.averages is not None and not in_stateless_scope():
        _here.averages.note(layer, mean, deviation)  # the latter's inverse
        return normalised
    with torch.no_grad():
        new = (layer.moving_mean, mean), (layer.moving_variance, deviation**-2 - layer.epsilon)
        for average, statistic in new:
            average.assign(torch.lerp(value(average), statistic, 1.0 - layer.momentum))
    return normalised
