"""Batch normalisation by Torch's own kernel, and updates of all moving averages of a model at once."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
from keras import layers
from keras.src.backend.common import global_state
from keras.src.backend.common.stateless_scope import in_stateless_scope


def value(variable: Any, dtype: torch.dtype | None = None) -> torch.Tensor:
    """Returns a variable's tensor. Outside of stateless scopes this avoids `variable.value`, which searches for scopes.

    Args:
        variable: a Keras variable.
        dtype: dtype to convert the tensor to; None for the variable's.
    """
    stateless = getattr(global_state.GLOBAL_STATE_TRACKER, "stateless_scope", None) is not None
    tensor = variable.value if stateless else variable._value
    return tensor if dtype is None or tensor.dtype is dtype else tensor.to(dtype)


class Averages:
    """Updates of the moving averages of a model's layers, deferred to the end of the model's call.

    They then take a few operations for all layers: one by one, they take as long as a small network's convolutions.
    """

    def __init__(self) -> None:
        # The tuples are (moving mean, moving variance, mean of the batch, inverse deviation of the batch).
        self._updates: dict[tuple[float, float], list[tuple[Any, ...]]] = {}  # by momentum and epsilon

    def note(self, layer: layers.BatchNormalization, mean: torch.Tensor, inverse_deviation: torch.Tensor) -> None:
        """Records the statistics of a batch, towards which a layer's moving averages are to move."""
        averages = layer.moving_mean._value, layer.moving_variance._value
        updates = self._updates.setdefault((layer.momentum, layer.epsilon), [])
        updates.append((*averages, mean, inverse_deviation))

    @torch.no_grad()
    def move(self) -> None:
        """Applies all recorded updates."""
        for (momentum, epsilon), updates in self._updates.items():
            means, variances, batch_means, inverse_deviations = zip(*updates, strict=True)
            batch_variances = torch._foreach_pow(inverse_deviations, -2)
            torch._foreach_sub_(batch_variances, epsilon)
            averages, statistics = [*means, *variances], [*batch_means, *batch_variances]
            if len(set(map(id, averages))) == len(averages):
                torch._foreach_lerp_(averages, statistics, 1.0 - momentum)
            else:  # a layer was called twice: its updates must follow one another
                for average, statistic in zip(averages, statistics, strict=True):
                    average.lerp_(statistic, 1.0 - momentum)


class _ThreadState(threading.local):
    averages: Averages | None = None  # of the model that is being called


_thread = _ThreadState()


@contextlib.contextmanager
def call_scope() -> Iterator[None]:
    """Context manager in which a model is called; nested models are updated with the outermost one."""
    if _thread.averages is not None:
        yield
        return
    _thread.averages = Averages()
    try:
        yield
        _thread.averages.move()
    finally:
        _thread.averages = None


def normaliser(layer: layers.BatchNormalization) -> Callable[[torch.Tensor, bool], torch.Tensor]:
    """Returns the function that normalises images (batch, channels, ...) as a layer does.

    See `keras_resnet.backend.batch_norm`. Its second argument is `use_batch_statistics`.
    """
    gamma, beta, moving_mean, moving_variance = layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance

    def normalise(x: torch.Tensor, use_batch_statistics: bool) -> torch.Tensor:
        scale, offset, epsilon = value(gamma), value(beta), layer.epsilon
        if not use_batch_statistics:
            mean, variance = value(moving_mean), value(moving_variance)
            if torch.is_grad_enabled() and not (torch.compiler.is_compiling() or torch.jit.is_tracing()):
                # Copies, since a call in training may move the averages before the gradients are computed.
                mean, variance = mean.clone(), variance.clone()
            cudnn = torch.backends.cudnn.enabled
            return torch.batch_norm(x, scale, offset, mean, variance, False, 0.0, epsilon, cudnn)
        normalised, mean, inverse_deviation = torch.native_batch_norm(x, scale, offset, None, None, True, 0.0, epsilon)
        if _thread.averages is not None and not in_stateless_scope():
            _thread.averages.note(layer, mean, inverse_deviation)
            return normalised
        with torch.no_grad():
            variance = inverse_deviation**-2 - epsilon
            for average, statistic in ((moving_mean, mean), (moving_variance, variance)):
                average.assign(torch.lerp(value(average), statistic, 1.0 - layer.momentum))
        return normalised

    return normalise
