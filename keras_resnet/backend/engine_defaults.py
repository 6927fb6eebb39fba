"""What an engine leaves to Keras, or as it is; see `keras_resnet.backend`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras


def normal(seed: int, shape: Sequence[int], deviation: float) -> None:
    """None: Keras's is as good."""


def max_pool(layer: keras.layers.MaxPooling2D, x: Any) -> None:
    """None: Keras's is as good."""


def relu(x: Any) -> None:
    """None: Keras's is as good."""


def add(x: Any, y: Any) -> None:
    """None: Keras's is as good."""


def can_export_graphs() -> bool:
    """No: what Keras writes of a network calls the engine's own program."""
    return False


def eager_layers() -> None:
    """None: a whole model is compiled."""


def set_kernel_layout(kernel: Any) -> None:
    """As it is: the compiler decides for itself."""


def match_layout(variable: Any, other: Any) -> None:
    """As it is."""


def add_decay(gradients: Sequence[Any], variables: Sequence[Any], decay: float) -> Sequence[Any]:
    """See `keras_resnet.backend.add_decay`. Compiled, one kernel with what the optimizer does."""
    pairs = zip(gradients, variables, strict=True)
    return [gradient + decay * keras.ops.convert_to_tensor(variable) for gradient, variable in pairs]


def update_arguments(gradients: list[Any], variables: list[Any], rate: Any) -> tuple[list[Any], list[Any], Any]:
    """As they are: Keras updates variables one by one."""
    return gradients, variables, rate


def momentum_step(*_: Any) -> bool:
    """False: what Keras does is compiled into few kernels, or done for all variables at once."""
    return False


def move_averages(*_: Any) -> bool:
    """False: what Keras does is compiled into few kernels."""
    return False


def gradient_shares() -> int:
    """1: the optimizer is given the gradient of the global batch."""
    return 1


def mark_waiting(batches: Iterator[Any]) -> Iterator[Any]:
    """As they are: the engine's trace knows who waits for them."""
    return batches
