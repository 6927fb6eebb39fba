"""Training images in the memory of the device, where they are cropped and mirrored."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from ..data import TrainingBatches
from ..data.augment import in_square


class DeviceImages(keras.layers.Layer):
    """Crops the images of a batch as `TrainingBatches.stream_views` describes them. Used in training, never saved.

    Only a few numbers per image are sent to the device at each step. The resulting images equal those of
    `TrainingBatches.stream`, byte for byte.

    Args:
        batches: the training batches, whose images are stored on the device.
    """

    def __init__(self, batches: TrainingBatches) -> None:
        super().__init__(dtype="float32", trainable=False)
        padded = batches.padded()
        _, *self._padded_size, channels = padded.shape
        pixels = padded.reshape(-1, channels)
        self._crop_size, self._cutout = batches.images.shape[1:3], batches.cutout
        self._fill = np.broadcast_to(np.asarray(batches.fill, pixels.dtype), channels)
        self.pixels = self.add_weight(
            shape=pixels.shape, dtype="uint8", initializer=lambda *_, **__: pixels, trainable=False, name="pixels"
        )
        self.built = True

    def call(self, views: Any, training: bool = True) -> Any:
        """Maps views, int32 (batch, 4) or (batch, 6) with cutout, to images, uint8 (batch, height, width, channels)."""
        image, mirrored, top, left, *center = (views[:, number : number + 1] for number in range(views.shape[1]))
        height, width = self._padded_size
        rows, columns = (ops.arange(length, dtype="int32")[None] for length in self._crop_size)
        x = left + columns
        x = ops.where(mirrored > 0, width - 1 - x, x)
        y = image * height + top + rows  # the images lie one below the other
        images = ops.take(self.pixels, y[:, :, None] * width + x[:, None, :], axis=0)
        if not center:
            return images
        erased_rows, erased_columns = (
            in_square(*each, self._cutout) for each in zip((rows, columns), center, strict=True)
        )
        return ops.where((erased_rows[:, :, None] & erased_columns[:, None, :])[..., None], self._fill, images)
