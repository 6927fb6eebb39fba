"""A functional model as a backend runs it that computes each layer when it is called: Torch.

Keras keeps until the model's end whatever a layer gives, and does much around each call. Here what nobody takes any
more makes room at once, and the layers that residual networks are made of compute without ceremony, where nobody else
needs what they take in its very place. All others run as Keras runs them, as do those that a backend's hooks follow.
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

FRESH = (layers.Conv2D, layers.BatchNormalization, layers.Add)  # what they give is not needed for gradients


class Step(NamedTuple):
    """A call of a layer.

    Attributes:
        node: Keras's.
        inputs, outputs: what it takes and gives, by the identity of the symbolic tensors.
        done: those of its inputs that nobody takes later.
        owned: of each of its inputs, whether the layer may write there.
        run: the layer's call without ceremony, which gives None for what it does not know; or None.
        policy: the layer's, as it was built.
        dtype: of the tensors for which `run` is.
    """

    node: Any
    inputs: list[int]
    outputs: list[int]
    done: list[int]
    owned: list[bool]
    run: Callable[..., Any] | None
    policy: Any
    dtype: Any


class Eager:
    """A functional model's `call`, with its layers' settings as they are when it is first called."""

    _steps: tuple[Step, ...] = ()
    _layers_called: tuple[Any, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        """As Keras pickles a model, by the class that has a name."""
        return self.__class__._unpickle_model, super().__reduce__()[1]

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None, **others: Any) -> Any:
        flat = keras.tree.flatten(inputs)
        if mask is not None or others or any(hasattr(tensor, "_keras_mask") for tensor in flat):
            return super().call(inputs, training=training, mask=mask, **others)
        engine = backend.eager_layers()
        if not self._steps:
            steps = tuple(_steps(self, engine))
            called = tuple(step.node.operation for step in steps if isinstance(step.node.operation, keras.Layer))
            object.__setattr__(self, "_layers_called", called)  # Keras keeps no account of it
            object.__setattr__(self, "_steps", steps)
        steps, watched = self._steps, engine.watched(self._layers_called)
        if watched:
            steps = _left_to_keras(steps, watched)
        found = dict(zip(map(id, self.inputs), self._standardize_inputs(inputs), strict=True))
        with engine.together():
            for step in steps:
                taken = [found[name] for name in step.inputs]
                for name in step.done:
                    del found[name]
                given = _run(step, taken, training, engine)
                del taken
                if len(step.outputs) == 1:
                    (found[step.outputs[0]],) = given if isinstance(given, list | tuple) else (given,)
                else:
                    found.update(zip(step.outputs, keras.tree.flatten(given), strict=True))
                del given
        given = [engine.whole(found[id(tensor)]) for tensor in self.outputs]
        outputs = keras.tree.pack_sequence_as(self._outputs_struct, given)
        return outputs[0] if isinstance(outputs, list | tuple) and len(outputs) == 1 else outputs


@functools.cache
def eager(cls: type) -> type:
    """The class of functional models that run so, and are of the class `cls` to whoever asks."""
    return type(cls.__name__, (Eager, cls), {"__class__": property(lambda self: cls)})


def _run(step: Step, taken: list[Any], training: bool | None, engine: ModuleType) -> Any:
    """What a layer gives."""
    layer = step.node.operation
    known = step.run is not None and layer.dtype_policy is step.policy  # not quantised since
    if known and taken[0].dtype is step.dtype is taken[-1].dtype:  # of more than two, none is for `run`
        given = step.run(*taken, training=training, owned=step.owned)
        if given is not None:
            return given
    whole = [engine.whole(tensor) for tensor in taken]
    arguments, named = step.node.arguments.fill_in(dict(zip(step.inputs, whole, strict=True)))
    if training is not None and "training" in getattr(layer, "_call_context_args", ()):
        named["training"] = training
    return layer(*arguments, **named)


def _steps(model: Any, engine: ModuleType) -> Iterator[Step]:
    """The calls of a model, in Keras's order."""
    nodes = [node for node in graph.nodes(model) if not node.is_input]
    givers = {id(tensor): node.operation for node in nodes for tensor in node.outputs}
    consumers = graph.consumers(nodes)
    kept = set(map(id, model.outputs))
    for node in nodes:
        layer, inputs, outputs = node.operation, [*map(id, node.input_tensors)], [*map(id, node.outputs)]
        owned = [len(consumers[name]) == 1 and name not in kept and _fresh(givers.get(name)) for name in inputs]
        prepare = engine.CALLS.get(layer.__class__) if _ordinary(layer) and graph.plain(node) else None
        if layer.__class__ is layers.ZeroPadding2D and outputs[0] not in kept and len(consumers[outputs[0]]) == 1:
            taker = consumers[outputs[0]][0].operation
            if engine.pads(taker, layer, givers.get(inputs[0])):
                prepare = engine.pad_later
        done = [name for name in dict.fromkeys(inputs) if consumers[name][-1] is node and name not in kept]
        policy = getattr(layer, "dtype_policy", None)
        run = prepare and prepare(layer)
        yield Step(node, inputs, outputs, done, owned, run, policy, run and engine.dtype(layer.compute_dtype))


def _left_to_keras(steps: Iterable[Step], watched: Iterable[Any]) -> Iterator[Step]:
    """The calls, those of some layers as Keras makes them; nobody overwrites what these give, which hooks may keep."""
    watched, kept = set(map(id, watched)), set()
    for step in steps:
        if id(step.node.operation) in watched:
            kept.update(step.outputs)
            step = step._replace(run=None)
        yield step._replace(owned=[own and name not in kept for own, name in zip(step.owned, step.inputs, strict=True)])


def _ordinary(layer: Any) -> bool:
    """Whether a layer is called for nothing but what it gives."""
    plain = getattr(layer, "activity_regularizer", None) is None and getattr(layer, "_remat_mode", None) is None
    return plain and getattr(layer, "quantization_mode", None) is None


def _fresh(layer: Any) -> bool:
    """Whether what a layer gives is a tensor of its own that no gradient needs."""
    return layer.__class__ in FRESH and getattr(layer, "activation", None) in (None, keras.activations.linear)
