"""Faster calls of functional models on a backend that computes each layer when it is called: Torch.

Keras keeps the outputs of all layers until the end of the model's call, and has overhead around each layer. Here an
output is released as soon as no later layer takes it, and the layers that residual networks consist of are computed
directly by the backend, in place where their input is not needed again. All other layers run as in Keras, and so do
those with hooks of the backend, and all layers where the backend compiles the call. Where no gradients are recorded,
a convolution and the layers after it may be one kernel.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from types import ModuleType
from typing import Any

import keras

from .. import backend
from .eager_plan import Plan, Step, leave_to_keras, plan_calls

_Functional: Any = object  # stands for Keras's class of functional models, which `eager` adds


class Eager(_Functional):
    """The `call` of such models. The settings of their layers are read once, when the model is first called."""

    _plan: Plan | None = None

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
        if (plan := self._plan) is None:
            plan = plan_calls(self, engine)
            object.__setattr__(self, "_plan", plan)  # so that Keras does not track it
        tensors = dict(zip(map(id, self.inputs), self._standardize_inputs(inputs), strict=True))
        steps: Iterable[Step] = plan.steps
        if hooked := engine.with_hooks(plan.called):
            steps = leave_to_keras(steps, hooked)
        elif engine.can_fuse(plan.weights, training, tensors.values()):
            steps = plan.fused_steps
        with engine.call_scope():
            for step in steps:
                step_inputs = [tensors[name] for name in step.inputs]
                for name in step.done:
                    del tensors[name]
                result = _output(step, step_inputs, training, engine)
                del step_inputs
                if len(step.outputs) == 1:
                    tensors[step.outputs[0]] = result[0] if isinstance(result, list | tuple) else result
                else:
                    tensors.update(zip(step.outputs, keras.tree.flatten(result), strict=True))
                del result
        results = [engine.to_keras(tensors[id(tensor)]) for tensor in self.outputs]
        outputs = keras.tree.pack_sequence_as(self._outputs_struct, results)
        return outputs[0] if isinstance(outputs, list | tuple) and len(outputs) == 1 else outputs


@functools.cache
def eager(cls: type) -> type:
    """Returns a subclass of the functional model class `cls` with this `call`; its instances report the class `cls`."""
    return type(cls.__name__, (Eager, cls), {"__class__": property(lambda self: cls)})


def _output(step: Step, inputs: list[Any], training: bool | None, engine: ModuleType) -> Any:
    """Returns the output of a step."""
    if (
        step.run is not None
        and _has_its_policy(step)
        and inputs[0].dtype is step.dtype is inputs[-1].dtype  # `run` rejects more than two inputs
    ):
        result = step.run(training, step.overwritable, *inputs)
        if result is not None:
            return result
    if not step.parts:
        return _by_keras(step, inputs, training, engine)
    tensors = dict(zip(step.inputs, inputs, strict=True))
    for part in step.parts:
        output = _output(part, [tensors[name] for name in part.inputs], training, engine)
        tensors[part.outputs[0]] = output
    return output


def _has_its_policy(step: Step) -> bool:
    """Returns whether the layers of a step were not quantised since the steps were made."""
    if step.parts:
        return all(map(_has_its_policy, step.parts))
    return step.node.operation.dtype_policy is step.policy


def _by_keras(step: Step, inputs: list[Any], training: bool | None, engine: ModuleType) -> Any:
    """Returns the output of a layer, computed by Keras."""
    layer = step.node.operation
    keras_tensors = [engine.to_keras(tensor) for tensor in inputs]
    arguments, keywords = step.node.arguments.fill_in(dict(zip(step.inputs, keras_tensors, strict=True)))
    if training is not None and "training" in getattr(layer, "_call_context_args", ()):
        keywords["training"] = training
    return layer(*arguments, **keywords)
