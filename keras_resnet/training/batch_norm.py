"""Batch norm's statistics, estimated anew when the weights no longer change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from .. import backend
from .progress import Bar


def reestimate(
    model: keras.Model, batches: Any, steps: int, callbacks: Sequence[keras.callbacks.Callback] = ()
) -> None:
    """Replaces every batch norm's moving averages by the mean and variance over many training images.

    As the authors did for the networks they released, whose statistics are averages, not moving averages, over a large
    training batch after the training (notes to their ImageNet models, github.com/KaimingHe/deep-residual-networks).
    The moving averages of training follow weights that still change, and forget all but the last few batches.

    The batches go through the network as in training, on all its devices, each normalised by its own statistics; so
    dropout and stochastic depth are at work too.

    Args:
        model: a model with batch norm among its own layers, not within models that it is made of; its weights stay as
            they are, and so do the statistics of what is frozen.
        batches: pairs of images as the model takes them, and anything; of one size, as `keras.Model.evaluate` takes
            them.
        steps: how many batches.
        callbacks: further ones, as `evaluate` takes them; where one of them raises an error, the statistics are those
            of the last batch.

    Raises:
        ValueError: there are no batches.
    """
    if steps < 1:
        raise ValueError("There are no images to estimate batch norm's statistics over.")
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable]
    momenta = [layer.momentum for layer in layers]
    statistics = _Statistics(layers, steps)
    try:
        for layer in layers:
            layer.momentum = 0.0  # so that the moving averages are the statistics of the last batch
        observed = _AsInTraining(model)
        observed.compile(jit_compile=backend.jit_compile())
        observed.evaluate(batches, steps=steps, verbose=0, callbacks=[statistics, *callbacks])
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    statistics.assign()


class _AsInTraining(keras.Model):
    """A network that is tested as it is trained."""

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
    """Adds up the means and the mean squares that batch norms have seen in each batch."""

    def __init__(self, layers: list[keras.layers.BatchNormalization], steps: int) -> None:
        super().__init__("Estimating batch norm's statistics", steps)
        self.layers = layers
        self.sums = [(np.zeros(layer.moving_mean.shape), np.zeros(layer.moving_mean.shape)) for layer in layers]
        self.count = 0

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.model  # noqa: B018  on JAX, it takes the variables back from `evaluate`
        self.count += 1
        for layer, (means, squares) in zip(self.layers, self.sums, strict=True):
            mean = keras.ops.convert_to_numpy(layer.moving_mean).astype("float64")
            means += mean
            squares += keras.ops.convert_to_numpy(layer.moving_variance) + mean**2

    def assign(self) -> None:
        """Gives the batch norms the statistics of all batches."""
        for layer, (means, squares) in zip(self.layers, self.sums, strict=True):
            mean = means / self.count
            layer.moving_mean.assign(mean.astype("float32"))
            layer.moving_variance.assign((squares / self.count - mean**2).astype("float32"))
