"""How the layers of a functional model are called in `keras_resnet.models.eager`: in which order, and by what."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import keras
from keras import layers

from . import graph

FRESH = (layers.Conv2D, layers.BatchNormalization, layers.Add)  # whose outputs no gradient needs


class Step(NamedTuple):
    """A call of a layer, or of several that are computed as one.

    Attributes:
        node: Keras's node of the call; of the last, if there are several.
        inputs, outputs: ids of the symbolic tensors that the call takes and returns.
        overwritable: whether the layer may overwrite each of its inputs.
        run: computes the layer directly, returning None for inputs that it does not support; None if Keras always has
            to compute the layer.
        policy: the layer's dtype policy when the steps were made; `parts` have their own.
        dtype: dtype of the inputs that `run` supports.
        parts: if there are several layers, their steps, which are taken if `run` returns None.
        done: the inputs that no later call takes.
    """

    node: Any
    inputs: list[int]
    outputs: list[int]
    overwritable: list[bool]
    run: Callable[..., Any] | None
    policy: Any
    dtype: Any
    parts: Sequence[Step] = ()
    done: Sequence[int] = ()


class Plan(NamedTuple):
    """How a model is called.

    Attributes:
        steps: the calls of its layers.
        called: its layers.
        fused_steps: the same calls, those that the backend can compute as one at inference being one.
        weights: what the backend keeps for `fused_steps`.
    """

    steps: Sequence[Step]
    called: Sequence[keras.Layer]
    fused_steps: Sequence[Step]
    weights: Any


def plan_calls(model: Any, engine: ModuleType) -> Plan:
    """Returns how a model is called; for the module `engine` see `keras_resnet.backend.eager_layers`."""
    results = set(map(id, model.outputs))
    steps, weights = list(_steps(model, results, engine)), engine.FoldedWeights()
    called = [step.node.operation for step in steps if isinstance(step.node.operation, keras.Layer)]
    fused_steps = _fused(steps, results, weights, engine)
    return Plan(_with_releases(steps, results), called, _with_releases(fused_steps, results), weights)


def leave_to_keras(steps: Iterable[Step], hooked: Iterable[Any]) -> Iterator[Step]:
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


def _steps(model: Any, results: Container[int], engine: ModuleType) -> Iterator[Step]:
    """Yields the calls of a model, in Keras's order."""
    nodes = [node for node in graph.nodes(model) if not node.is_input]
    producers = {id(tensor): node.operation for node in nodes for tensor in node.outputs}
    consumers = graph.consumers(nodes)
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
        run = None if prepare is None else prepare(layer)
        dtype = None if run is None else engine.dtype(layer.compute_dtype)
        yield Step(node, inputs, outputs, overwritable, run, getattr(layer, "dtype_policy", None), dtype)


def _fused(steps: Sequence[Step], results: Container[int], weights: Any, engine: ModuleType) -> Iterator[Step]:
    """Yields the steps, those that the backend computes as one being one, in the place of the last of them."""
    makers = {name: step for step in steps for name in step.outputs}
    takers: dict[int, list[Step]] = {}
    for step in steps:
        for name in step.inputs:
            takers.setdefault(name, []).append(step)
    wholes: dict[int, Step] = {}  # by id of each of their parts
    for step in steps:
        chain = _chain(step, takers, wholes, results, engine)
        run = engine.fused([part.node.operation for part in chain], weights) if chain else None
        if run is not None:
            outputs = {name for part in chain for name in part.outputs}
            inputs = [name for part in chain for name in part.inputs if name not in outputs]
            whole = chain[-1]._replace(inputs=inputs, run=run, parts=chain)
            wholes.update((id(part), whole) for part in chain)

    def is_separate(step: Step) -> bool:
        """Returns whether the output of a step shares no memory with its inputs."""
        return id(step) in wholes or _fresh(step.node.operation)

    for step in steps:
        whole = wholes.get(id(step), step)
        if whole is step:
            yield step
        elif step is whole.parts[-1]:
            first, *others = whole.inputs
            overwritable = [
                name in makers and name != first and all(map(is_separate, [makers[name], *takers[name]]))
                for name in others
            ]
            yield whole._replace(overwritable=[False, *overwritable])


def _chain(
    step: Step, takers: Mapping[int, Sequence[Step]], taken: Container[int], results: Container[int], engine: ModuleType
) -> list[Step]:
    """Returns a step and those after it that the backend may compute as one with it; none if it is `taken`."""
    if step.run is None or id(step) in taken:
        return []
    chain = [step]
    while (output := chain[-1].outputs[0]) not in results and len(following := takers.get(output, ())) == 1:
        (after,) = following
        computed = after.run is not None and len(after.inputs) <= 2 and id(after) not in taken
        if not (computed and engine.may_follow([part.node.operation for part in chain], after.node.operation)):
            break
        chain.append(after)
    return chain


def _with_releases(steps: Iterable[Step], results: Container[int]) -> list[Step]:
    """Returns the steps with `done`; a step may overwrite no other inputs."""
    steps = list(steps)
    last = {name: number for number, step in enumerate(steps) for name in step.inputs}
    released = []
    for number, step in enumerate(steps):
        done = [name for name in dict.fromkeys(step.inputs) if last[name] == number and name not in results]
        overwritable = [own and name in done for own, name in zip(step.overwritable, step.inputs, strict=True)]
        released.append(step._replace(done=done, overwritable=overwritable))
    return released


def _ordinary(layer: Any) -> bool:
    """Returns whether calling a layer has no effect but its output, and it is neither quantised nor rematerialised."""
    plain = getattr(layer, "activity_regularizer", None) is None and getattr(layer, "_remat_mode", None) is None
    return plain and getattr(layer, "quantization_mode", None) is None


def _fresh(layer: Any) -> bool:
    """Returns whether the output of a layer is a tensor of its own that no gradient needs."""
    linear = getattr(layer, "activation", None) in (None, keras.activations.linear)
    return layer.__class__ in FRESH and linear and _ordinary(layer)  # else a regularizer may need it
