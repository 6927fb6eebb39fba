"""The network as it is trained, cut into its units: for less memory, and for less to trace and to compile."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import keras

from ..models.chain import chain
from ..models.fast_layers import use_fast_layers


def split_into_units(model: keras.Model, *, rematerialize: bool = False, loop: bool = False) -> keras.Model:
    """The same network, of the same variables, whose units are called one by one.

    Args:
        model: a model of this package. It stays as it is, and is the one to save.
        rematerialize: keep nothing but the outputs of the units, and compute what is inside again for the gradients
            (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"); about a third more arithmetic.
            `keras.RematScope` does it layer by layer, and fails on layers that change their variables, as batch norm
            does.
        loop: trace and compile units that are alike once, and run them in a loop, so that the time until the first
            step grows less with the depth.

    Returns:
        A model to be trained, not compiled.
    """
    parts = chain(model)
    units, x = list(parts.units.values()), parts.stem.output
    for alike in _neighbours_alike(units) if loop else ([unit] for unit in units):
        x = UnitSequence(alike, rematerialize, name=f"{alike[0].name}_to_{alike[-1].name}")(x)
    trained = use_fast_layers(keras.Model(model.input, parts.head(x), name=model.name))
    orders = ([variable.path for variable in each.trainable_variables] for each in (model, trained))
    if next(orders) != next(orders):  # the optimizer knows its variables by their order
        raise RuntimeError(f"The variables of {model.name!r} come in another order when it is cut into units.")
    return trained


def _neighbours_alike(units: list[keras.Model]) -> Iterator[list[keras.Model]]:
    """Units in a row that differ in nothing but their variables' values."""
    for _, alike in itertools.groupby(units, _nature):
        yield list(alike)


def _nature(unit: keras.Model) -> str:
    """What a unit is, whatever its parts are called and however they began."""
    configs = [
        {key: value for key, value in layer.get_config().items() if key != "name" and "initializer" not in key}
        for layer in unit.layers
    ]
    shapes = [unit.input_shape, unit.output_shape, [tuple(variable.shape) for variable in unit.variables]]
    return json.dumps([configs, shapes], default=str)


class UnitSequence(keras.layers.Layer):
    """Units that are alike, one behind the other. Only for running: it is never saved.

    Args:
        units: one or more.
        rematerialize: compute what is inside again for gradients.
    """

    def __init__(self, units: list[keras.Model], rematerialize: bool, **arguments: Any) -> None:
        super().__init__(autocast=False, **arguments)  # what is half precision stays so
        self.units, self.rematerialize = units, rematerialize
        self.built = True

    def call(self, x: Any, training: bool | None = None) -> Any:
        weights = [[variable.value for variable in unit.trainable_variables] for unit in self.units]
        # Copies, since Torch would see the variables changed under its hands.
        others = [[keras.ops.copy(variable) for variable in unit.non_trainable_variables] for unit in self.units]
        count = len(weights[0])

        def run(x: Any, *values: Any) -> tuple[Any, ...]:
            """The first unit, with the values of any."""
            y, changed = self.units[0].stateless_call(list(values[:count]), list(values[count:]), x, training=training)
            return y, *changed

        if self.rematerialize:
            run = keras.remat(run)
        if len(self.units) == 1:
            x, *changed = run(x, *weights[0], *others[0])
            self._assign([changed])
            return x
        columns = zip(*(own + more for own, more in zip(weights, others, strict=True)), strict=True)
        stacked = [keras.ops.stack(column) for column in columns]

        def step(carried: tuple[Any, ...], values: list[Any]) -> tuple[Any, Any]:
            # What a unit has changed is carried along as well: on TensorFlow, Keras hands out what it carries alone.
            found = run(carried[0], *values)
            return found, found

        (x, *_), (_, *changed) = keras.ops.scan(step, (x, *others[0]), stacked)
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
