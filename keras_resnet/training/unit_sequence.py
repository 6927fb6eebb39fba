"""A network split into its units for training: to save memory, and time for tracing and compilation."""

from __future__ import annotations

import itertools
import json
from typing import Any

import keras

from ..models.chain import chain
from ..models.fast_layers import use_fast_layers


def split_into_units(model: keras.Model, *, rematerialize: bool = False, loop: bool = False) -> keras.Model:
    """Returns the same network, with the same variables, as a model that calls its units one by one.

    Args:
        model: a model of this package. It does not change, and is the one to save.
        rematerialize: keep only the outputs of the units, and recompute the activations within them for the gradients
            (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"); about a third more arithmetic.
            `keras.RematScope` works layer by layer, and fails for layers that update their variables, such as batch
            norm.
        loop: trace and compile identical units once and run them in a loop, so that the time until the first step
            grows less with the depth.

    Returns:
        A model to be trained, not compiled.
    """
    parts = chain(model)
    units, x = list(parts.units.values()), parts.stem.output
    for _, neighbours in itertools.groupby(units, _signature if loop else id):
        group = list(neighbours)
        x = UnitSequence(group, rematerialize, name=f"{group[0].name}_to_{group[-1].name}")(x)
    split = use_fast_layers(keras.Model(model.input, parts.head(x), name=model.name))
    orders = ([variable.path for variable in each.trainable_variables] for each in (model, split))
    if next(orders) != next(orders):  # the optimizer identifies variables by their order
        raise RuntimeError(f"The variables of {model.name!r} change their order when it is split into units.")
    return split


def _signature(unit: keras.Model) -> str:
    """Returns what units share that differ only in the values of their variables.

    It is the configuration of their layers without names and initializers; that of the input has the shape.
    """
    configs = [
        {key: value for key, value in layer.get_config().items() if key != "name" and "initializer" not in key}
        for layer in unit.layers
    ]
    return json.dumps(configs, default=str)


class UnitSequence(keras.layers.Layer):
    """Identical units in sequence. Used in training, never saved.

    Args:
        units: the units, one or more.
        rematerialize: whether to recompute the activations within units for the gradients.
    """

    def __init__(self, units: list[keras.Model], rematerialize: bool, **arguments: Any) -> None:
        super().__init__(autocast=False, **arguments)  # keeps half-precision inputs as they are
        self.units, self.rematerialize = units, rematerialize
        self.built = True

    def call(self, x: Any, training: bool | None = None) -> Any:
        weights = [[variable.value for variable in unit.trainable_variables] for unit in self.units]
        # Copies, since Torch's autograd forbids in-place changes to saved tensors.
        states = [[keras.ops.copy(variable) for variable in unit.non_trainable_variables] for unit in self.units]
        count = len(weights[0])

        def run(x: Any, *values: Any) -> tuple[Any, ...]:
            """Calls the first unit with the variables' values of any unit."""
            y, changed = self.units[0].stateless_call(list(values[:count]), list(values[count:]), x, training=training)
            return y, *changed

        if self.rematerialize:
            run = keras.remat(run)
        if len(self.units) == 1:
            x, *changed = run(x, *weights[0], *states[0])
            self._assign([changed])
            return x
        columns = zip(*(weight + state for weight, state in zip(weights, states, strict=True)), strict=True)
        stacked = [keras.ops.stack(column) for column in columns]

        def step(carried: tuple[Any, ...], values: list[Any]) -> tuple[Any, Any]:
            # The carry has the structure of the outputs, changed variables included: `scan` on TensorFlow requires it.
            result = run(carried[0], *values)
            return result, result

        (x, *_), (_, *changed) = keras.ops.scan(step, (x, *states[0]), stacked)
        self._assign([[column[number] for column in changed] for number in range(len(self.units))])
        return x

    def _assign(self, changed: list[list[Any]]) -> None:
        for unit, values in zip(self.units, changed, strict=True):
            for variable, value in zip(unit.non_trainable_variables, values, strict=True):
                variable.assign(value)

    def compute_output_spec(self, x: Any, training: bool | None = None) -> Any:
        for unit in self.units:
            x = unit.compute_output_spec(x)
        return x
