"""Training with less memory: what is inside a unit is computed again for its gradient, and not kept until then."""

from __future__ import annotations

import itertools
import re
from typing import Any

import keras


def rematerialized(model: keras.Model) -> keras.Model:
    """The same network, of the same variables, of which training keeps nothing but the outputs of the units.

    Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"; about a third more arithmetic. `keras.RematScope`
    does it layer by layer, and fails on layers that change their variables, as batch norm does.

    Args:
        model: a model of this package. It stays as it is, and is the one to save.

    Returns:
        A model to be trained, not compiled.
    """
    outputs: dict[str, Any] = {}
    for layer in model.layers:
        if match := re.match(r"(stem|stage\d+_unit\d+)_", layer.name):
            outputs[match[1]] = layer.output
    x = outputs["stem"]
    for (_, begin), (name, end) in itertools.pairwise(outputs.items()):
        x = Rematerialized(keras.Model(begin, end, name=name), name=f"{name}_rematerialized")(x)
    head = keras.Model(end, model.output, name="head")
    trained = keras.Model(model.input, head(x), name=model.name)
    orders = ([variable.path for variable in each.trainable_variables] for each in (model, trained))
    if next(orders) != next(orders):  # the optimizer knows its variables by their order
        raise RuntimeError(f"The variables of {model.name!r} come in another order when it is rematerialized.")
    return trained


class Rematerialized(keras.layers.Layer):
    """A part of a network, computed again for its gradient. Only for running: it is never saved."""

    def __init__(self, part: keras.Model, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.part = part
        self.built = True

    def call(self, x: Any, training: bool | None = None) -> Any:
        weights = [variable.value for variable in self.part.trainable_variables]
        others = self.part.non_trainable_variables
        values = [keras.ops.copy(variable) for variable in others]  # Torch would see them changed under its hands

        def run(x: Any, *values: Any) -> tuple[Any, ...]:
            y, changed = self.part.stateless_call(
                list(values[: len(weights)]), list(values[len(weights) :]), x, training=training
            )
            return y, *changed

        y, *changed = keras.remat(run)(x, *weights, *values)
        for variable, value in zip(others, changed, strict=True):
            variable.assign(value)
        return y

    def compute_output_spec(self, x: Any, training: bool | None = None) -> Any:
        return self.part.compute_output_spec(x)
