"""A network of JAX to be timed beside this package's: that of flax's ImageNet example."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from typing import Any

import numpy as np


def flax_step(
    name: str, file: str | None, size: int, half: bool, rate: float, momentum: float, decay: float
) -> Callable[[np.ndarray, np.ndarray], Any]:
    """A training step of the network of a name in flax's ImageNet example, with optax's SGD.

    Args:
        name: such as "resnet50".
        file: the example's models.py.
        size: of the images, in pixels.
        half: whether it computes in bfloat16.
        rate, momentum, decay: the optimizer's.

    Raises:
        LookupError: there is no such file or no such network, or flax or optax is not installed.
    """
    if not file:
        raise LookupError("flax's example: no --flax FILE")
    try:
        import jax
        import optax
        from jax import numpy as jnp

        models = _module(file)
    except (ImportError, OSError) as error:
        raise LookupError(f"flax's example: {error}") from error
    name = name.replace("resnet", "ResNet")
    if not hasattr(models, name):
        raise LookupError(f"flax's example has no {name}")
    model = getattr(models, name)(num_classes=1000, dtype=jnp.bfloat16 if half else jnp.float32)
    known = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, size, size, 3)))
    optimizer = optax.chain(optax.add_decayed_weights(decay), optax.sgd(rate, momentum))
    state = [known["params"], known["batch_stats"], optimizer.init(known["params"])]

    @jax.jit
    def update(params: Any, averages: Any, velocities: Any, images: Any, labels: Any) -> Any:
        def loss(params: Any) -> Any:
            logits, changed = model.apply({"params": params, "batch_stats": averages}, images, mutable=["batch_stats"])
            losses = optax.softmax_cross_entropy_with_integer_labels(logits.astype("float32"), labels)
            return losses.mean(), changed["batch_stats"]

        (value, averages), gradients = jax.value_and_grad(loss, has_aux=True)(params)
        changes, velocities = optimizer.update(gradients, velocities, params)
        return [optax.apply_updates(params, changes), averages, velocities], value

    def step(images: np.ndarray, labels: np.ndarray) -> float:
        state[:], value = update(*state, images, labels)
        return float(value)

    return step


def _module(file: str) -> Any:
    spec = importlib.util.spec_from_file_location("flax_example", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # flax's modules are dataclasses, which look there
    spec.loader.exec_module(module)
    return module
