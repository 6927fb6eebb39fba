"""Transfer: a part of a network keeps its weights while the rest learns."""

from __future__ import annotations

import keras

from .network import part
from .taps import taps

EVERYTHING = "features"  # but the dense layer: the tap that the head pools


def freeze(model: keras.Model, until: str = EVERYTHING) -> None:
    """Freezes a network up to a stage; what follows is free to learn.

    The layers of the stem, what stands in front of it, and those of the stages up to `until` are set to
    `trainable=False`. Keras runs a frozen batch norm
    in inference mode: it normalises by its moving statistics in training too, and these stay as they are. So a frozen
    part computes in training what it computes afterwards (but for dropout and stochastic depth, which are at work).

    Args:
        model: a model of this package. Compile it anew afterwards: Keras takes note of what is trainable only then.
        until: "stem", "stage1", "stage2", ..., all inclusive; or "features" for everything but the dense layer, for a
            linear probe. The last stage has the activation behind it with it.

    Raises:
        ValueError: no such stage, or a model that is none of this package.
    """
    order = parts(model)
    if until not in order:
        raise ValueError(f"`until` must be one of {', '.join(order)} of {model.name!r}. Received: {until!r}")
    frozen, begun = set(order[: order.index(until) + 1]), False
    for layer in model.layers:
        place = _place(layer, order)
        begun = begun or place is not None
        if not isinstance(layer, keras.layers.Normalization):
            layer.trainable = begun and place not in frozen


def unfreeze(model: keras.Model) -> None:
    """Frees every layer of a network to learn; compile it anew afterwards.

    Args:
        model: any model.
    """
    for layer in model.layers:
        if not isinstance(layer, keras.layers.Normalization):
            layer.trainable = True


def parts(model: keras.Model) -> list[str]:
    """What a network can be frozen up to, in order: "stem", "stage1", ..., "features"."""
    return [name for name in taps(model) if name.startswith(("stem", "stage"))] + [EVERYTHING]


def _place(layer: keras.Layer, order: list[str]) -> str | None:
    """Which of them a layer belongs to; the activation behind the last stage to that, the dense layer to none."""
    found = part(layer.name)
    return order[-2] if found == "head" else found
