"""Re-estimation of the statistics of batch norm after training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from .. import backend
from .progress_bar import Bar


def reestimate(
    model: keras.Model, batches: Any, steps: int, callbacks: Sequence[keras.callbacks.Callback] = ()
) -> None:
    """Replaces the moving averages of all batch norm layers by the mean and variance over many training images.

    The authors did so for the networks they released, whose statistics are averages, not moving averages, over a large
    training batch after training (notes to their ImageNet models, github.com/KaimingHe/deep-residual-networks). The
    moving averages of training follow weights that still change, and forget all but the last few batches.

    The batches pass through the network as in training, on all its devices, each normalised by its own statistics, so
    dropout and stochastic depth are active, too.

    Args:
        model: a model whose batch norm layers are its own, not those of nested models. Its weights do not change, nor
            do the statistics of frozen layers.
        batches: pairs of images, as the model takes them, and any second value, of equal size, as for
            `keras.Model.evaluate`.
        steps: number of batches.
        callbacks: further callbacks of `evaluate`; if one of them raises an error, the statistics are those of the last
            batch.

    Raises:
        ValueError: there are no batches.
    """
    if steps < 1:
        raise ValueError(f"`steps` must be at least 1: batch norm's statistics need images. Received: {steps}")
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable]
    momenta = [layer.momentum for layer in layers]
    statistics = _Statistics(layers, steps)
    try:
        for layer in layers:
            layer.momentum = 0.0  # so that the moving averages are the statistics of the last batch
        in_training_mode = _InTrainingMode(model)
        in_training_mode.compile(jit_compile=backend.jit_compile())
        in_training_mode.evaluate(batches, steps=steps, verbose=0, callbacks=[statistics, *callbacks])
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    statistics.assign()


class _InTrainingMode(keras.Model):
    """A network that runs in training mode even in `evaluate`."""

    def __init__(self, network: keras.Model) -> None:
        super().__init__(name=network.name)
        self.network = network
        self.built = True

    def call(self, images: Any, training: bool | None = None) -> Any:
        return self.network(images, training=True)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        return keras.ops.zeros(())


class _Statistics(Bar):
    """Adds up the means and mean squares of the inputs of batch norm layers over all batches."""

    def __init__(self, layers: list[keras.layers.BatchNormalization], steps: int) -> None:
        super().__init__("Estimating batch norm's statistics", steps)
        self.layers = layers
        self.sums = [(np.zeros(layer.moving_mean.shape), np.zeros(layer.moving_mean.shape)) for layer in layers]
        self.count = 0

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.model  # noqa: B018  on JAX, it syncs the variables from `evaluate`
        self.count += 1
        for layer, (means, squares) in zip(self.layers, self.sums, strict=True):
            mean = keras.ops.convert_to_numpy(layer.moving_mean).astype("float64")
            means += mean
            squares += keras.ops.convert_to_numpy(layer.moving_variance) + mean**2

    def assign(self) -> None:
        """Assigns the statistics over all batches to the layers."""
        for layer, (means, squares) in zip(self.layers, self.sums, strict=True):
            mean = means / self.count
            layer.moving_mean.assign(mean.astype("float32"))
            layer.moving_variance.assign((squares / self.count - mean**2).astype("float32"))
