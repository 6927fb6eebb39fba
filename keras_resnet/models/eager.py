"""Faster calls of functional models on a backend that computes each layer when it is called: Torch.

Keras keeps the outputs of all layers until the end of the model's call, and has overhead around each layer. Here an
output is released as soon as no later layer takes it, and the layers that residual networks consist of are computed
directly by the backend, in place where their input is not needed again. All other layers run as in Keras, and so do
those with hooks of the backend, and all layers where the backend compiles the call.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

import keras
from keras import layers

from .. import backend
from . import graph

FRESH = (layers.Conv2D, layers.BatchNormalization, layers.Add)  # whose outputs no gradient needs


class Step(NamedTuple):
    """A call of a layer.

    Attributes:
        node: Keras's node of the call.
        inputs, outputs: ids of the symbolic tensors that the call takes and returns.
        done: the inputs that no later call takes.
        overwritable: whether the layer may overwrite each of its inputs.
        run: computes the layer directly, returning None for inputs that it does not support; None if Keras always has
            to compute the layer.
        policy: the layer's dtype policy when the steps were made.
        dtype: dtype of the inputs that `run` supports.
    """

    node: Any
    inputs: list[int]
    outputs: list[int]
    done: list[int]
    overwritable: list[bool]
    run: Callable[..., Any] | None
    policy: Any
    dtype: Any


_Functional: Any = object  # stands for Keras's class of functional models, which `eager` adds


class Eager(_Functional):
    """The `call` of such models. The settings of their layers are read once, when the model is first called."""

    _steps: tuple[Step, ...] = ()
    _layers_called: tuple[Any, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the model as Keras does, by Keras's class, which can be imported."""
        return self.__class__._unpickle_model, super().__reduce__()[1]

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None, **others: Any) -> Any:
        flat = keras.tree.flatten(inputs)
        if mask is not None or others or any(hasattr(tensor, "_keras_mask") for tensor in flat):
            return super().call(inputs, training=training, mask=mask, **others)
        engine = backend.eager_layers()
        if engine is None or engine.is_compiling():
            return super().call(inputs, training=training)
        if not self._steps:
            made = tuple(_steps(self, engine))
            called = tuple(step.node.operation for step in made if isinstance(step.node.operation, keras.Layer))
            object.__setattr__(self, "_layers_called", called)  # so that Keras does not track it
            object.__setattr__(self, "_steps", made)
        hooked = engine.with_hooks(self._layers_called)
        steps: Iterable[Step] = _leave_to_keras(self._steps, hooked) if hooked else self._steps
        tensors = dict(zip(map(id, self.inputs), self._standardize_inputs(inputs), strict=True))
        with engine.call_scope():
            for step in steps:
                node, names, outputs, done, overwritable, run, policy, dtype = step
                step_inputs = [tensors[name] for name in names]
                for name in done:
                    del tensors[name]
                result = None
                if (
                    run is not None
                    and node.operation.dtype_policy is policy  # the layer was not quantised since
                    and step_inputs[0].dtype is dtype is step_inputs[-1].dtype  # `run` rejects more than two inputs
                ):
                    result = run(training, overwritable, *step_inputs)
                if result is None:
                    result = _by_keras(step, step_inputs, training, engine)
                del step_inputs
                if len(outputs) == 1:
                    tensors[outputs[0]] = result[0] if isinstance(result, list | tuple) else result
                else:
                    tensors.update(zip(outputs, keras.tree.flatten(result), strict=True))
                del result
        results = [engine.to_keras(tensors[id(tensor)]) for tensor in self.outputs]
        outputs = keras.tree.pack_sequence_as(self._outputs_struct, results)
        return outputs[0] if isinstance(outputs, list | tuple) and len(outputs) == 1 else outputs


@functools.cache
def eager(cls: type) -> type:
    """Returns a subclass of the functional model class `cls` with this `call`; its instances report the class `cls`."""
    return type(cls.__name__, (Eager, cls), {"__class__": property(lambda self: cls)})


def _by_keras(step: Step, inputs: list[Any], training: bool | None, engine: ModuleType) -> Any:
    """Returns the output of a layer, computed by Keras."""
    layer = step.node.operation
    keras_tensors = [engine.to_keras(tensor) for tensor in inputs]
    arguments, keywords = step.node.arguments.fill_in(dict(zip(step.inputs, keras_tensors, strict=True)))
    if training is not None and "training" in getattr(layer, "_call_context_args", ()):
        keywords["training"] = training
    return layer(*arguments, **keywords)


def _steps(model: Any, engine: ModuleType) -> Iterator[Step]:
    """Yields the calls of a model, in Keras's order."""
    nodes = [node for node in graph.nodes(model) if not node.is_input]
    producers = {id(tensor): node.operation for node in nodes for tensor in node.outputs}
    consumers = graph.consumers(nodes)
    results = set(map(id, model.outputs))
    for node in nodes:
        layer = node.operation
        inputs, outputs = list(map(id, node.input_tensors)), list(map(id, node.outputs))
        overwritable = [
            len(consumers[name]) == 1 and name not in results and _fresh(producers.get(name)) for name in inputs
        ]
        prepare = engine.CALLS.get(layer.__class__) if _ordinary(layer) and graph.has_only_inputs(node) else None
        if layer.__class__ is layers.ZeroPadding2D and outputs[0] not in results and len(consumers[outputs[0]]) == 1:
            consumer = consumers[outputs[0]][0].operation
            if engine.can_defer_padding(consumer, layer, producers.get(inputs[0])):
                prepare = engine.defer_padding
        done = [name for name in dict.fromkeys(inputs) if consumers[name][-1] is node and name not in results]
        policy = getattr(layer, "dtype_policy", None)
        run = None if prepare is None else prepare(layer)
        dtype = None if run is None else engine.dtype(layer.compute_dtype)
        yield Step(node, inputs, outputs, done, overwritable, run, policy, dtype)


def _leave_to_keras(steps: Iterable[Step], hooked: Iterable[Any]) -> Iterator[Step]:
    """Yields the calls such that Keras computes those of the hooked layers.

    Their outputs are not overwritten by other layers, since hooks may keep them.
    """
    hooked, protected = set(map(id, hooked)), set()
    for step in steps:
        if id(step.node.operation) in hooked:
            protected.update(step.outputs)
            step = step._replace(run=None)
        overwritable = [own and name not in protected for own, name in zip(step.overwritable, step.inputs, strict=True)]
        yield step._replace(overwritable=overwritable)


def _ordinary(layer: Any) -> bool:
    """Returns whether calling a layer has no effect but its output, and it is neither quantised nor rematerialised."""
    plain = getattr(layer, "activity_regularizer", None) is None and getattr(layer, "_remat_mode", None) is None
    return plain and getattr(layer, "quantization_mode", None) is None


def _fresh(layer: Any) -> bool:
    """Returns whether the output of a layer is a tensor of its own that no gradient needs."""
    linear = getattr(layer, "activation", None) in (None, keras.activations.linear)
    return layer.__class__ in FRESH and linear and _ordinary(layer)  # else a regularizer may need it
