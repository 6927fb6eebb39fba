"""The training images in the device's memory, cut and mirrored there."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from ..data import TrainingBatches


class DeviceImages(keras.layers.Layer):
    """Looks up what `TrainingBatches.stream_views` tells of a batch. Only for running: it is never saved.

    Nothing but a few numbers an image goes to the device with a step, and what comes of them is, byte for byte, what
    `TrainingBatches.stream` makes.

    Args:
        batches: whose images these are.
    """

    def __init__(self, batches: TrainingBatches) -> None:
        super().__init__(dtype="float32", trainable=False)
        padded = batches.padded()
        _, *self._side, channels = padded.shape
        pixels = padded.reshape(-1, channels)
        self._window, self._erased = batches.images.shape[1:3], batches.cutout
        self._fill = np.broadcast_to(np.asarray(batches.fill, pixels.dtype), channels)
        self.pixels = self.add_weight(
            shape=pixels.shape, dtype="uint8", initializer=lambda *_, **__: pixels, trainable=False, name="pixels"
        )
        self.built = True

    def call(self, views: Any, training: bool = True) -> Any:
        """From int32 (batch, 4), or (batch, 6) with cutout, to uint8 (batch, height, width, channels)."""
        image, mirrored, top, left, *center = (views[:, number : number + 1] for number in range(views.shape[1]))
        height, width = self._side
        rows, columns = (ops.arange(length, dtype="int32")[None] for length in self._window)
        across = left + columns
        across = ops.where(mirrored > 0, width - 1 - across, across)
        down = image * height + top + rows
        images = ops.take(self.pixels, down[:, :, None] * width + across[:, None, :], axis=0)
        if not center:
            return images
        near = [_near(*each, self._erased) for each in zip((rows, columns), center, strict=True)]
        return ops.where((near[0][:, :, None] & near[1][:, None, :])[..., None], self._fill, images)


def _near(positions: Any, center: Any, size: int) -> Any:
    """Which of the positions (1, length) are among the `size` about each centre (batch, 1)."""
    offsets = positions - (center - size // 2)
    return (offsets >= 0) & (offsets < size)
