"""SavedModels: plain TensorFlow graphs that take image files or images and name their classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from ..data import SIZE
from ..evaluation.outputs import outputs_logits, shapes
from ..models.taps import taps
from .choices import CHANNELS
from .decoding import reader

PARALLEL = 8  # image files of a batch that are decoded in parallel


class Served(tf.Module):
    """Content of a SavedModel: a network's variables, its labels and its signatures.

    Args:
        model: a model on TensorFlow from raw images to one probability or logit per class.
        labels: a text file with one class name per line, which becomes an asset.
        view: "size" and "resize" of the centre square of an image file, as for `predict`; None for the largest part.
        top: number of classes that are named.
    """

    def __init__(self, model: keras.Model, labels: Path, view: dict[str, int] | None, top: int) -> None:
        super().__init__(name="served")
        (height, width, self.channels), classes = shapes(model)
        self.size = (height, width)
        # The model is only referenced by functions, of which just the computation is saved. As an attribute, the Keras
        # model would be saved too, with its variables a second time.
        self.parameters = [variable.value for variable in model.variables]
        self._network = probabilities(model)
        self._pooled = _pooled(model)
        self.labels = tf.lookup.StaticHashTable(
            tf.lookup.TextFileInitializer(
                str(labels),
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
            ),
            default_value="",
        )
        self._top = min(top, classes)
        self._file_size = (view["size"], view["size"]) if view else (height or SIZE, width or SIZE)
        self._read = reader(*self._file_size, self.channels, view) if self.channels in CHANNELS else None

    def signatures(self, default_signature: str) -> dict[str, Any]:
        """Returns the signatures by name; see `keras_resnet.export` for their inputs and outputs.

        Args:
            default_signature: "image_bytes", which exists if image files can have the channels of the
                network's images; or "images", whose default version returns probabilities only, so that programs that
                do not support strings can read the graph.
        """

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
        def of_files(image_bytes: Any) -> dict[str, Any]:
            image_spec = tf.TensorSpec([*self._file_size, self.channels], tf.uint8)
            images, valid = tf.map_fn(
                self._read,
                image_bytes,
                fn_output_signature=(image_spec, tf.TensorSpec([], tf.bool)),
                parallel_iterations=PARALLEL,
            )
            outputs = self._outputs(tf.cast(images, tf.float32))
            return {**{name: _where(valid, value) for name, value in outputs.items()}, "valid": valid}

        def of_images(images: Any) -> dict[str, Any]:
            return self._outputs(tf.cast(images, tf.float32))

        signatures = {
            **({"image_bytes": of_files} if self._read else {}),
            "images": self._of_images(of_images),
            "images_uint8": self._of_images(of_images, tf.uint8),
        }
        if self._pooled:
            signatures["features"] = self._of_images(lambda images: {"features": self._pooled(images)})
        default = signatures[default_signature]
        if default_signature == "images":
            default = self._of_images(lambda images: {"probabilities": self._network(images)})
        return {"serving_default": default, **signatures}

    def _of_images(self, function: Any, dtype: Any = tf.float32) -> Any:
        """Returns a signature whose input is a batch of images."""
        return tf.function(
            function, input_signature=[tf.TensorSpec([None, *self.size, self.channels], dtype, "images")]
        )

    def _outputs(self, images: Any) -> dict[str, Any]:
        """Returns the outputs for float32 images."""
        probabilities = self._network(images)
        scores, indices = tf.math.top_k(probabilities, self._top)
        classes = self.labels.lookup(tf.cast(indices, tf.int64))
        return {"probabilities": probabilities, "classes": classes, "scores": scores}


def probabilities(model: keras.Model) -> Callable[[Any], Any]:
    """Returns a function from images to float32 probabilities, also for a model that returns logits."""
    last = tf.nn.softmax if outputs_logits(model) else tf.identity
    return lambda images: last(tf.cast(model(images, training=False), tf.float32))


def _pooled(model: keras.Model) -> Callable[[Any], Any] | None:
    """Returns a function from images to the vectors before the logits; None if the model has none."""
    try:
        pooled = keras.Model(model.input, taps(model)["pooled"])
    except (KeyError, ValueError):
        return None
    return lambda images: tf.cast(pooled(images, training=False), tf.float32)


def _where(valid: Any, value: Any) -> Any:
    """Replaces the values of invalid images by zeros or empty strings."""
    return tf.where(valid[:, None], value, tf.zeros_like(value))


def write_saved_model(
    model: keras.Model, folder: Path, labels: Path, view: dict[str, int] | None, top: int, default_signature: str
) -> list[str]:
    """Writes a SavedModel to an existing folder; for the arguments see `Served` and `Served.signatures`.

    Returns:
        The names of its signatures, without the default one.
    """
    served = Served(model, labels, view, top)
    signatures = {
        name: function.get_concrete_function() for name, function in served.signatures(default_signature).items()
    }
    tf.saved_model.save(served, str(folder), signatures)
    return [name for name in signatures if name != "serving_default"]
