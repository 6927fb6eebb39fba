"""Defaults for backends that have nothing better than Keras's own implementation; see `keras_resnet.backend`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras


def keras_own(*_: Any) -> None:
    """Returns None: Keras's own implementation is used."""


normal = max_pool = relu = add = keras_own


def can_export_graphs() -> bool:
    """Returns False: a graph that Keras exports calls the backend's own program."""
    return False


def eager_layers() -> None:
    """Returns None: whole models are compiled."""


def set_kernel_layout(kernel: Any) -> None:
    """Does nothing: the compiler chooses layouts."""


def match_layout(variable: Any, other: Any) -> None:
    """Does nothing: the compiler chooses layouts."""


def add_decay(gradients: Sequence[Any], variables: Sequence[Any], decay: float) -> Sequence[Any]:
    """See `keras_resnet.backend.add_decay`. The compiler fuses this with the optimizer's update."""
    pairs = zip(gradients, variables, strict=True)
    return [gradient + decay * keras.ops.convert_to_tensor(variable) for gradient, variable in pairs]


def update_arguments(gradients: list[Any], variables: list[Any], rate: Any) -> tuple[list[Any], list[Any], Any]:
    """Returns the arguments unchanged: Keras updates variables one by one."""
    return gradients, variables, rate


def momentum_step(*_: Any) -> bool:
    """Returns False: Keras's update is compiled into few kernels, or updates all variables at once."""
    return False


def move_averages(*_: Any) -> bool:
    """Returns False: Keras's update is compiled into few kernels."""
    return False


def gradient_shares() -> int:
    """Returns 1: the optimizer is given the gradient of the global batch."""
    return 1


def mark_waiting(batches: Iterator[Any]) -> Iterator[Any]:
    """Returns the batches unchanged: the backend's own trace shows the time spent waiting for them."""
    return batches
