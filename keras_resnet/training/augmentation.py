"""Augmentation that the papers did not have: layers in front of the network, on the device that trains."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from .device_images import DeviceImages
from .recipe import Recipe

MAGNITUDES = 30  # RandAugment's scale: at this, an operation is as strong as it may be
OPERATIONS = 2  # of RandAugment, one after the other
LEVELS = 256  # values of a pixel

_PLAIN = {"dtype": "float32", "data_format": "channels_last"}


def augmented(
    network: keras.Model, recipe: Recipe, color: np.ndarray, images: DeviceImages | None = None
) -> keras.Model:
    """The network as it is trained: behind what the recipe does to images and labels beyond cutting and mirroring.

    Args:
        network: from raw images (batch, height, width, channels) of 0 to 255 to logits. It stays as it is.
        recipe: a recipe.
        color: the images' mean, a value a channel; erased parts become as bright.
        images: those that it is trained on, if they lie on the device; then it takes what was drawn of them.

    Returns:
        A model of the network's variables, and of the states of random generators; the network itself where the recipe
        does nothing.

    Raises:
        ValueError: an operation that images of these channels do not have.
    """
    layers: list[keras.layers.Layer] = []
    if recipe.randaugment:
        if len(color) != 3:
            raise ValueError(f"`randaugment` takes images in RGB. Those of {recipe.dataset} have {len(color)} channel.")
        layers.append(RandAugment(recipe.randaugment))
    if recipe.erasing:
        grey = float(np.mean(color))  # on JAX, Keras takes one number alone
        layers.append(keras.layers.RandomErasing((recipe.erasing, recipe.erasing), fill_value=grey, **_PLAIN))
    mix = Mix(recipe.mixup, recipe.cutmix) if recipe.mixup or recipe.cutmix else None
    return Augmented(network, layers, mix, images) if layers or mix or images else network


class Augmented(keras.Model):
    """A network that sees other images in training than in tests. Only for running: it is never saved.

    Labels are mixed as the images were when the loss is taken, so the training error counts the larger part of a mixed
    image as its class.

    Args:
        network: from images to logits.
        layers: what the images go through in training, one by one.
        mix: what mixes images and labels behind that; None for nothing.
        images: what looks up the images in training, before all that; None if it is given them.
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
        """The labels of the images that the network saw, and its logits."""
        if not isinstance(y_pred, dict):
            return labels, y_pred
        return self.mix.labels(labels, y_pred["mixing"]), y_pred["logits"]


class Mix(keras.layers.Layer):
    """MixUp (Zhang et al. 2018), CutMix (Yun et al. 2019), or by a coin for each batch one of the two.

    Args:
        mixup, cutmix: the parameters of their Beta distributions, up to 1; 0 for none.
    """

    def __init__(self, mixup: float, cutmix: float) -> None:
        super().__init__(dtype="float32")
        self.supports_jit = False  # on GPUs, TensorFlow's XLA knows no Beta distribution
        self.mixers = [keras.layers.MixUp(mixup, **_PLAIN)] if mixup else []
        if cutmix:  # Keras draws the parameter from a range, too
            self.mixers.append(keras.layers.CutMix((cutmix, cutmix), **_PLAIN))
        self.coin = keras.random.SeedGenerator()

    def build(self, shape: Any) -> None:
        for mixer in self.mixers:
            mixer.build(shape)

    def call(self, images: Any) -> tuple[Any, dict[str, Any]]:
        """The mixed images; and which image each was mixed with, and how much of it was left."""
        with _silenced():
            drawn = [mixer.get_random_transformation(images) for mixer in self.mixers]
        mixed = [mixer.transform_images(images, how) for mixer, how in zip(self.mixers, drawn, strict=True)]
        heads = keras.random.uniform((), seed=self.coin) < 0.5
        image, partner, weight = (
            keras.ops.where(heads, *each) if len(each) == 2 else each[0]
            for each in (
                mixed,
                [keras.ops.cast(how["permutation_order"], "int32") for how in drawn],
                [keras.ops.reshape(how["mix_weight"], (-1,)) for how in drawn],
            )
        )
        return image, {"permutation_order": partner, "mix_weight": weight}

    def labels(self, labels: Any, mixing: dict[str, Any]) -> Any:
        """Labels (batch, classes), mixed as the images were."""
        return self.mixers[0].transform_labels(labels, mixing)  # both do the same with them


class RandAugment(keras.layers.Layer):
    """Two random operations on every image (Cubuk et al. 2020, "RandAugment").

    Operations and ranges are torchvision's, which goes as far as a range allows, where this draws how far it goes. What
    an image moves away from turns black. Keras takes contrast about the mean of each channel, where torchvision takes
    the grey image's, sees black beyond a border where it sharpens, and interpolates where torchvision by default does
    not.

    `keras.layers.RandAugment` draws the same operations for all images of a batch, and from ranges of which the paper's
    are a small part. As it does, this makes all operations of the whole batch and chooses among the results.

    Args:
        magnitude: above 0, up to 30.
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
            # One more than there are operations: that is the identity.
            chosen = keras.random.randint((count, 1, 1, 1), 0, len(self.operations) + 1, seed=self.generator)
            changed = images
            for number, operation in enumerate(self.operations):
                with _silenced():
                    operated = operation(images, training=True)
                changed = keras.ops.where(chosen == number, operated, changed)
            images = keras.ops.reshape(changed, keras.ops.shape(images))  # TensorFlow forgets the shape on the way
        return images


class Drawn(keras.layers.Layer):
    """Does what a number says, which is drawn for each image.

    Args:
        low, high: between which it lies.
    """

    def __init__(self, low: float, high: float, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.low, self.high = low, high
        self.generator = keras.random.SeedGenerator()

    def call(self, images: Any, training: bool = True) -> Any:
        number = keras.random.uniform((keras.ops.shape(images)[0], 1, 1, 1), self.low, self.high, seed=self.generator)
        return self.change(images, number)


class Brightness(Drawn):
    """Multiplies by a factor. `keras.layers.RandomBrightness` adds, and on Torch changes the images it is given."""

    def change(self, images: Any, factor: Any) -> Any:
        return keras.ops.clip(images * factor, 0, LEVELS - 1)


class Solarize(Drawn):
    """Inverts what is as bright as a threshold. `keras.layers.Solarization` draws that from 0 or 1 up, always."""

    def change(self, images: Any, threshold: Any) -> Any:
        return keras.ops.where(images < threshold, images, LEVELS - 1 - images)


class Equalize(keras.layers.Layer):
    """Spreads the values of each image's each channel evenly from 0 to 255, as Pillow's `ImageOps.equalize` does.

    `keras.layers.Equalization` counts the values of a batch together.
    """

    def call(self, images: Any, training: bool = True) -> Any:
        ops, shape = keras.ops, keras.ops.shape(images)
        maps = shape[0] * shape[-1]
        first = ops.reshape(LEVELS * ops.arange(maps, dtype="int32"), (shape[0], 1, 1, shape[-1]))
        places = first + ops.cast(ops.round(ops.clip(images, 0, LEVELS - 1)), "int32")  # a place a channel and value
        flat = ops.reshape(places, (-1,))
        counts = ops.reshape(ops.segment_sum(ops.ones_like(flat), flat, maps * LEVELS), (maps, LEVELS))
        darker = ops.cumsum(counts, axis=1) - counts
        # Pixels that take a step of one: of all but the brightest, an equal share for each step.
        step = ops.max(ops.where(counts > 0, darker, 0), axis=1, keepdims=True) // (LEVELS - 1)
        spread = ops.minimum((darker + step // 2) // ops.maximum(step, 1), LEVELS - 1)
        table = ops.where(step > 0, spread, ops.arange(LEVELS, dtype="int32"))
        return ops.cast(ops.take(ops.reshape(table, (-1,)), places), images.dtype)


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Keeps from the terminal what JAX and Torch say of how Keras's layers call them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Explicitly requested dtype int64|Tensor.T is deprecated", UserWarning)
        yield


def _operations(strength: float) -> list[keras.layers.Layer]:
    """RandAugment's operations; each draws how far it goes, up to a share `strength` of its range, either way."""
    layers = keras.layers
    turn, shift, change = 30 / 360 * strength, 150 / 331 * strength, 0.9 * strength
    about_half = (0.5 - change / 2, 0.5 + change / 2)  # where one half changes nothing
    bits = 8 - round(4 * strength)
    black = {"fill_mode": "constant", **_PLAIN}  # where there was no image
    return [
        layers.RandomRotation(turn, **black),
        layers.RandomShear(x_factor=0.3 * strength, **black),
        layers.RandomShear(y_factor=0.3 * strength, **black),
        layers.RandomTranslation(0.0, shift, **black),
        layers.RandomTranslation(shift, 0.0, **black),
        Brightness(1 - change, 1 + change, dtype="float32"),
        layers.RandomContrast((change, change), **_PLAIN),
        layers.RandomColorDegeneration(change, **_PLAIN),
        layers.RandomSharpness(about_half, **_PLAIN),
        Solarize((LEVELS - 1) * (1 - strength), LEVELS - 1, dtype="float32"),
        layers.RandomPosterization((bits, bits), **_PLAIN),
        layers.AutoContrast(**_PLAIN),
        Equalize(dtype="float32"),
    ]
