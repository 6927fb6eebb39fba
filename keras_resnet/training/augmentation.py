"""Augmentation beyond that of the papers: layers in front of the network, which run on the training device."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from .device_images import DeviceImages
from .recipe import Recipe

MAGNITUDES = 30  # highest magnitude of RandAugment, at which its operations use their full range
OPERATIONS = 2  # number of operations that RandAugment applies to an image
LEVELS = 256  # number of values of a pixel

_PLAIN = {"dtype": "float32", "data_format": "channels_last"}


def augmented(
    network: keras.Model, recipe: Recipe, color: np.ndarray, images: DeviceImages | None = None
) -> keras.Model:
    """Returns the network preceded by the augmentation of a recipe, beyond random crops and mirroring.

    Args:
        network: maps raw images (batch, height, width, channels) of 0 to 255 to logits. It does not change.
        recipe: a recipe.
        color: mean of the images, a value per channel; erased parts are filled with its mean.
        images: the training images, if they are stored on the device; the model then takes views of them.

    Returns:
        A model with the network's variables and the states of random generators; the network itself if the recipe has
        no such augmentation.

    Raises:
        ValueError: an operation does not support the number of channels.
    """
    layers: list[keras.layers.Layer] = []
    if recipe.randaugment:
        if len(color) != 3:
            raise ValueError(f"`randaugment` needs images of 3 channels. Received: {len(color)}, in {recipe.dataset}.")
        layers.append(RandAugment(recipe.randaugment))
    if recipe.erasing:
        grey = float(np.mean(color))  # on JAX, Keras supports only a single value
        layers.append(RandomErasing((recipe.erasing, recipe.erasing), fill_value=grey, **_PLAIN))
    mix = Mix(recipe.mixup, recipe.cutmix) if recipe.mixup or recipe.cutmix else None
    return Augmented(network, layers, mix, images) if layers or mix or images else network


class Augmented(keras.Model):
    """A network whose images are augmented in training. Used in training, never saved.

    Labels are mixed like their images before the loss and the metrics are computed, so the training error counts a
    mixed image as the class of its larger part.

    Args:
        network: maps images to logits.
        layers: layers that are applied to the images in training, in this order.
        mix: layer that mixes images and labels after that; None for none.
        images: layer that looks up the images in training, before all others; None if the model is given images.
    """

    def __init__(
        self, network: keras.Model, layers: list[keras.layers.Layer], mix: Mix | None, images: DeviceImages | None
    ) -> None:
        super().__init__(name=network.name)
        self.network, self.augmentation, self.mix, self.images = network, layers, mix, images
        for layer in (*layers, *([mix] if mix else ())):
            layer.build(network.input_shape)
        self.built = True

    def call(self, images: Any, training: bool | None = None) -> Any:
        if not training:
            return self.network(images, training=False)
        images = keras.ops.cast(self.images(images) if self.images else images, "float32")
        for layer in self.augmentation:
            images = layer(images, training=True)
        if self.mix is None:
            return self.network(images, training=True)
        images, mixing = self.mix(images)
        return {"logits": self.network(images, training=True), "mixing": mixing}

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        y, logits = self._mixed(y, y_pred)
        return super().compute_loss(x, y, logits, sample_weight, training)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        y, logits = self._mixed(y, y_pred)
        return super().compute_metrics(x, y, logits, sample_weight)

    def _mixed(self, labels: Any, y_pred: Any) -> tuple[Any, Any]:
        """Returns the labels, mixed like the images, and the logits."""
        if self.mix is None or not isinstance(y_pred, dict):
            return labels, y_pred
        return self.mix.labels(labels, y_pred["mixing"]), y_pred["logits"]


class Mix(keras.layers.Layer):
    """MixUp (Zhang et al. 2018), CutMix (Yun et al. 2019), or one of the two, drawn for each batch.

    Args:
        mixup, cutmix: the alphas of their Beta distributions, up to 1; 0 for none.
    """

    def __init__(self, mixup: float, cutmix: float) -> None:
        super().__init__(dtype="float32")
        self.supports_jit = False  # on GPUs, XLA in TensorFlow does not support the Beta distribution
        self.mixers = [keras.layers.MixUp(mixup, **_PLAIN)] if mixup else []
        if cutmix:  # Keras draws alpha from a range
            self.mixers.append(CutMix((cutmix, cutmix), **_PLAIN))
        self.coin = keras.random.SeedGenerator()

    def build(self, shape: Any) -> None:
        for mixer in self.mixers:
            mixer.build(shape)

    def call(self, images: Any) -> tuple[Any, dict[str, Any]]:
        """Returns the mixed images, the index of the image that each was mixed with, and the weight of its own part."""
        with _silenced():
            transformations = [mixer.get_random_transformation(images) for mixer in self.mixers]
        mixed = [mixer.transform_images(images, how) for mixer, how in zip(self.mixers, transformations, strict=True)]
        use_first = keras.random.uniform((), seed=self.coin) < 0.5
        image, partner, weight = (
            keras.ops.where(use_first, *each) if len(each) == 2 else each[0]
            for each in (
                mixed,
                [keras.ops.cast(how["permutation_order"], "int32") for how in transformations],
                [keras.ops.reshape(how["mix_weight"], (-1,)) for how in transformations],
            )
        )
        return image, {"permutation_order": partner, "mix_weight": weight}

    def labels(self, labels: Any, mixing: dict[str, Any]) -> Any:
        """Returns labels (batch, classes) mixed like the images."""
        return self.mixers[0].transform_labels(labels, mixing)  # equal in MixUp and CutMix


class WholePixels:
    """Makes the rectangles of a Keras layer consist of whole pixels, at any position in the image.

    Keras's own begin and end within pixels. So they never contain the first row or column, and a label is mixed by
    another share than its image.
    """

    def _compute_crop_bounds(self, batch_size: int, image_length: int, crop_ratio: Any, seed: Any) -> tuple[Any, Any]:
        """Returns, along an axis, the first pixel of the rectangle of each image, and the one after its last."""
        length = keras.ops.round(crop_ratio * image_length)
        first = keras.ops.floor(keras.random.uniform((batch_size,), seed=seed) * (image_length - length + 1))
        return first, first + length


class CutMix(WholePixels, keras.layers.CutMix):
    """Keras's layer with rectangles of whole pixels."""


class RandomErasing(WholePixels, keras.layers.RandomErasing):
    """Keras's layer with rectangles of whole pixels."""


class RandAugment(keras.layers.Layer):
    """Two random operations on every image (Cubuk et al. 2020, "RandAugment").

    Operations and ranges are those of torchvision, except that the strength is drawn from the range that torchvision
    uses to its limit. Areas without image content are filled with black. Further differences are those of Keras: it
    changes contrast relative to the mean of each channel, not to that of the grey image; sharpening sees black beyond
    the border; and it interpolates, which torchvision by default does not.

    `keras.layers.RandAugment` draws the same operations for all images of a batch, and from much larger ranges than the
    paper. Like that layer, this one applies all operations to the entire batch and selects among the results.

    Args:
        magnitude: the strength of the operations, above 0 and up to 30.
    """

    def __init__(self, magnitude: float) -> None:
        super().__init__(dtype="float32")
        self.operations = _operations(magnitude / MAGNITUDES)
        self.generator = keras.random.SeedGenerator()

    def build(self, shape: Any) -> None:
        for operation in self.operations:
            operation.build(shape)

    def call(self, images: Any, training: bool = True) -> Any:
        for _ in range(OPERATIONS):
            count = keras.ops.shape(images)[0]
            # The number after the last operation stands for the identity.
            selected = keras.random.randint((count, 1, 1, 1), 0, len(self.operations) + 1, seed=self.generator)
            augmented_images = images
            for number, operation in enumerate(self.operations):
                with _silenced():
                    result = operation(images, training=True)
                augmented_images = keras.ops.where(selected == number, result, augmented_images)
            images = keras.ops.reshape(augmented_images, keras.ops.shape(images))  # TensorFlow loses the shape
        return images


class RandomOperation(keras.layers.Layer):
    """Base class of operations with a parameter that is drawn uniformly for each image.

    Args:
        low, high: the range of the parameter.
    """

    def __init__(self, low: float, high: float, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.low, self.high = low, high
        self.generator = keras.random.SeedGenerator()

    def call(self, images: Any, training: bool = True) -> Any:
        shape = (keras.ops.shape(images)[0], 1, 1, 1)
        parameter = keras.random.uniform(shape, self.low, self.high, seed=self.generator)
        return self.transform(images, parameter)


class Brightness(RandomOperation):
    """Multiplies images by a factor. `keras.layers.RandomBrightness` adds, and on Torch modifies its input."""

    def transform(self, images: Any, factor: Any) -> Any:
        return keras.ops.clip(images * factor, 0, LEVELS - 1)


class Solarize(RandomOperation):
    """Inverts values from a threshold up. The threshold of `keras.layers.Solarization` always ranges from 0 or 1 up."""

    def transform(self, images: Any, threshold: Any) -> Any:
        return keras.ops.where(images < threshold, images, LEVELS - 1 - images)


class Equalize(keras.layers.Layer):
    """Equalises the histogram of every channel of every image, as Pillow's `ImageOps.equalize` does.

    `keras.layers.Equalization` takes a single histogram over the batch.
    """

    def call(self, images: Any, training: bool = True) -> Any:
        ops, shape = keras.ops, keras.ops.shape(images)
        channels = shape[0] * shape[-1]  # of all images
        offsets = ops.reshape(LEVELS * ops.arange(channels, dtype="int32"), (shape[0], 1, 1, shape[-1]))
        bins = offsets + ops.cast(ops.round(ops.clip(images, 0, LEVELS - 1)), "int32")  # one per channel and value
        flat = ops.reshape(bins, (-1,))
        counts = ops.reshape(ops.segment_sum(ops.ones_like(flat), flat, channels * LEVELS), (channels, LEVELS))
        darker = ops.cumsum(counts, axis=1) - counts
        # Number of pixels per output level: those below the brightest value, divided equally.
        step = ops.max(ops.where(counts > 0, darker, 0), axis=1, keepdims=True) // (LEVELS - 1)
        equalized = ops.minimum((darker + step // 2) // ops.maximum(step, 1), LEVELS - 1)
        table = ops.where(step > 0, equalized, ops.arange(LEVELS, dtype="int32"))
        return ops.cast(ops.take(ops.reshape(table, (-1,)), bins), images.dtype)


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Silences warnings of JAX and Torch about calls in Keras's layers."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Explicitly requested dtype int64|Tensor.T is deprecated", UserWarning)
        yield


def _operations(strength: float) -> list[keras.layers.Layer]:
    """Returns RandAugment's operations, whose parameters are drawn from a fraction `strength` of their ranges."""
    layers = keras.layers
    turn, shift, change = 30 / 360 * strength, 150 / 331 * strength, 0.9 * strength
    around_half = (0.5 - change / 2, 0.5 + change / 2)  # a factor of one half changes nothing
    bits = 8 - round(4 * strength)
    black = {"fill_mode": "constant", **_PLAIN}  # fills areas without image content
    return [
        layers.RandomRotation(turn, **black),
        layers.RandomShear(x_factor=0.3 * strength, **black),
        layers.RandomShear(y_factor=0.3 * strength, **black),
        layers.RandomTranslation(0.0, shift, **black),
        layers.RandomTranslation(shift, 0.0, **black),
        Brightness(1 - change, 1 + change, dtype="float32"),
        layers.RandomContrast((change, change), **_PLAIN),
        layers.RandomColorDegeneration(change, **_PLAIN),
        layers.RandomSharpness(around_half, **_PLAIN),
        Solarize((LEVELS - 1) * (1 - strength), LEVELS - 1, dtype="float32"),
        layers.RandomPosterization((bits, bits), **_PLAIN),
        layers.AutoContrast(**_PLAIN),
        Equalize(dtype="float32"),
    ]
