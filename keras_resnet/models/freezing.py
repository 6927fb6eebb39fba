"""Freezing for transfer learning: a part of a network keeps its weights while the rest is trained."""

from __future__ import annotations

import keras

from .graph import require_model
from .network import part
from .taps import taps

EVERYTHING = "features"  # all but the dense layer: the tap that the head pools


def freeze(model: keras.Model, until: str = EVERYTHING) -> None:
    """Freezes a network up to and including a stage, and makes the layers after it trainable.

    The layers of the stem, those before it, and those of the stages up to `until` are set to `trainable=False`. Keras
    runs a frozen batch norm in inference mode: it normalises by its moving statistics in training too, and does not
    update them. So a frozen part computes the same in training as in inference, except for dropout and stochastic
    depth, which remain active.

    Args:
        model: a model of this package. Compile it again afterwards, since Keras reads `trainable` when it compiles.
        until: the last part to freeze: "stem", "stage1", "stage2", ...; or "features" for everything but the dense
            layer, for a linear probe. The last stage includes the activation that follows it.

    Raises:
        ValueError: the network has no such part, or the model is not one of this package.

    Example:
        >>> model = keras_resnet.ResNet50(weights="imagenet", classes=10)
        >>> keras_resnet.freeze(model, until="stage3")  # stage4 and the dense layer are trained
    """
    order = parts(model)
    if until not in order:
        raise ValueError(f"`until` must be one of {', '.join(order)} for {model.name!r}. Received: {until!r}")
    frozen = order[: order.index(until) + 1]
    model.trainable = True  # a model that is frozen as a whole has no trainable variables, whatever its layers are
    in_network = False  # false for the layers before the stem
    for layer in model.layers:
        layer_part = _part_of(layer, order)
        in_network = in_network or layer_part is not None
        if not isinstance(layer, keras.layers.Normalization):
            layer.trainable = in_network and layer_part not in frozen


def unfreeze(model: keras.Model) -> None:
    """Makes every layer of a network trainable, except for its normalisation of the images.

    Args:
        model: any model. Compile it again afterwards, since Keras reads `trainable` when it compiles, with a new
            optimizer: one that has trained the rest of the network does not know the other variables.

    Raises:
        ValueError: the argument is not a model.
    """
    require_model(model)
    for layer in model._flatten_layers():  # with the models; TensorFlow ignores True for one that has it already
        if not isinstance(layer, keras.layers.Normalization):
            layer.trainable = True


def parts(model: keras.Model) -> list[str]:
    """Returns the valid values of `until` for a network, in order: "stem", "stage1", ..., "features"."""
    return [name for name in taps(model) if name.startswith(("stem", "stage"))] + [EVERYTHING]


def _part_of(layer: keras.Layer, order: list[str]) -> str | None:
    """Returns the part of a layer: the last stage for the activation that follows it, None for the dense layer."""
    name = part(layer.name)
    return order[-2] if name == "head" else name
