"""A network as a SavedModel: one plain TensorFlow graph that takes image files, or images, and names classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from ..data import SIZE
from ..evaluation.views import gives_logits, shapes
from ..models.taps import taps
from .choices import CHANNELS
from .decoding import reader

AT_ONCE = 8  # image files of a batch that are decoded side by side


class Served(tf.Module):
    """What a SavedModel holds: a network's variables, its labels, and its signatures.

    Args:
        model: from raw images to a probability, or a logit, a class. It runs on TensorFlow.
        labels: a text file with a class's name a line, which becomes an asset.
        view: as `predict` takes it.
        top: how many classes are named.
    """

    def __init__(self, model: keras.Model, labels: Path, view: dict[str, int] | None, top: int) -> None:
        super().__init__(name="served")
        (height, width, self.channels), classes = shapes(model)
        self.size = (height, width)
        # In functions, of which nothing is written down but what they compute; a Keras model as an attribute would be
        # written down whole, its variables a second time.
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
        self._shown = (view["size"], view["size"]) if view else (height or SIZE, width or SIZE)
        self._read = reader(*self._shown, self.channels, view) if self.channels in CHANNELS else None

    def signatures(self, asked: str) -> dict[str, Any]:
        """The signatures by name; see `keras_resnet.export` for what they take and give.

        Args:
            asked: which of them is the one that is asked if none is named: "image_bytes", which is there where the
                network's images have as many channels as files; or "images", which then gives probabilities alone, so
                that programs that know no text can read the graph.
        """

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
        def of_files(image_bytes: Any) -> dict[str, Any]:
            size = tf.TensorSpec([*self._shown, self.channels], tf.uint8)
            seen, valid = tf.map_fn(
                self._read,
                image_bytes,
                fn_output_signature=(size, tf.TensorSpec([], tf.bool)),
                parallel_iterations=AT_ONCE,
            )
            named = self._named(tf.cast(seen, tf.float32))
            shown = {name: _where(valid, value) for name, value in named.items()}
            return {**shown, "valid": valid}

        def of_images(images: Any) -> dict[str, Any]:
            return self._named(tf.cast(images, tf.float32))

        found = {
            **({"image_bytes": of_files} if self._read else {}),
            "images": self._taking(of_images),
            "images_uint8": self._taking(of_images, tf.uint8),
        }
        if self._pooled:
            found["features"] = self._taking(lambda images: {"features": self._pooled(images)})
        default = found[asked]
        if asked == "images":
            default = self._taking(lambda images: {"probabilities": self._network(images)})
        return {"serving_default": default, **found}

    def _taking(self, function: Any, dtype: Any = tf.float32) -> Any:
        return tf.function(
            function, input_signature=[tf.TensorSpec([None, *self.size, self.channels], dtype, "images")]
        )

    def _named(self, images: Any) -> dict[str, Any]:
        """From float32 images to what is answered."""
        probabilities = self._network(images)
        scores, places = tf.math.top_k(probabilities, self._top)
        classes = self.labels.lookup(tf.cast(places, tf.int64))
        return {"probabilities": probabilities, "classes": classes, "scores": scores}


def probabilities(model: keras.Model) -> Callable[[Any], Any]:
    """From images to float32 probabilities, also of a model that gives logits."""
    last = tf.nn.softmax if gives_logits(model) else tf.identity
    return lambda images: last(tf.cast(model(images, training=False), tf.float32))


def _pooled(model: keras.Model) -> Callable[[Any], Any] | None:
    """From images to the vectors before the logits; None of a model that has none."""
    try:
        pooled = keras.Model(model.input, taps(model)["pooled"])
    except (KeyError, ValueError):
        return None
    return lambda images: tf.cast(pooled(images, training=False), tf.float32)


def _where(valid: Any, value: Any) -> Any:
    """A value for each image; nothing for one that is none."""
    return tf.where(valid[:, None], value, tf.zeros_like(value))


def write_saved_model(
    model: keras.Model, folder: Path, labels: Path, view: dict[str, int] | None, top: int, asked: str
) -> list[str]:
    """Writes a SavedModel into a folder that is there; the arguments are those of `Served` and of its `signatures`.

    Returns:
        The names of its signatures, but for the one that answers where none is named.
    """
    served = Served(model, labels, view, top)
    signatures = {name: function.get_concrete_function() for name, function in served.signatures(asked).items()}
    tf.saved_model.save(served, str(folder), signatures)
    return [name for name in signatures if name != "serving_default"]
