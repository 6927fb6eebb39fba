"""JAX network for comparison with this package's: that of flax's ImageNet example."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from typing import Any

import numpy as np


def flax_step(
    name: str, file: str | None, size: int, half: bool, rate: float, momentum: float, decay: float
) -> Callable[[np.ndarray, np.ndarray], Any]:
    """Training step of a network of flax's ImageNet example, by optax's SGD.

    Args:
        name: the network's name, such as "resnet50".
        file: path of the example's models.py.
        size: side of the images in pixels.
        half: compute in bfloat16.
        rate, momentum, decay: learning rate, momentum and weight decay.

    Returns:
        A function of images (batch, size, size, 3) and labels (batch,) that takes a step and returns the loss.

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
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, size, size, 3)))
    optimizer = optax.chain(optax.add_decayed_weights(decay), optax.sgd(rate, momentum))
    state = [variables["params"], variables["batch_stats"], optimizer.init(variables["params"])]

    @jax.jit
    def update(params: Any, averages: Any, velocities: Any, images: Any, labels: Any) -> Any:
        def loss(params: Any) -> Any:
            logits, updated = model.apply({"params": params, "batch_stats": averages}, images, mutable=["batch_stats"])
            losses = optax.softmax_cross_entropy_with_integer_labels(logits.astype("float32"), labels)
            return losses.mean(), updated["batch_stats"]

        (value, averages), gradients = jax.value_and_grad(loss, has_aux=True)(params)
        updates, velocities = optimizer.update(gradients, velocities, params)
        return [optax.apply_updates(params, updates), averages, velocities], value

    def step(images: np.ndarray, labels: np.ndarray) -> float:
        state[:], value = update(*state, images, labels)
        return float(value)

    return step


def _module(file: str) -> Any:
    """Imports a Python file by its path."""
    spec = importlib.util.spec_from_file_location("flax_example", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses, such as flax's modules, look up their module there
    spec.loader.exec_module(module)
    return module
