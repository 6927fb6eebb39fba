"""The TensorFlow backend, which runs whole steps as graphs; see `keras_resnet.backend`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from . import traces
from .engine_defaults import (  # noqa: F401
    add,
    add_decay,
    eager_layers,
    mark_waiting,
    match_layout,
    max_pool,
    move_averages,
    normal,
    relu,
    set_kernel_layout,
    update_arguments,
)
from .tensorflow_devices import accelerators, devices, gradient_shares  # noqa: F401
from .tensorflow_layers import batch_norm, convolution  # noqa: F401
from .traces import Event, Span


def version() -> str:
    """Returns TensorFlow's version, from the module, since its distribution has several names."""
    return tf.__version__


def can_export_graphs() -> bool:
    """Returns True; see `keras_resnet.backend.can_export_graphs`."""
    return True


def jit_compile() -> bool | str:
    """Returns "auto": Keras knows which layers XLA does not compile for TensorFlow."""
    return "auto"


def gradient(function: Callable[..., Any], _: Sequence[Any]) -> Callable[..., list[Any]]:
    """See `keras_resnet.backend.gradient`."""

    @tf.function(reduce_retracing=True)
    def run(arrays: list[Any], *others: Any) -> list[Any]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(arrays)
            value = function(arrays, *others)
        return tape.gradient(value, arrays, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    return run


def start_trace(folder: Path) -> None:
    """See `keras_resnet.backend.start_trace`."""
    tf.profiler.experimental.start(str(folder))


def stop_trace(folder: Path) -> tuple[list[Span], list[Span]]:
    """See `keras_resnet.backend.stop_trace`. A step waits for its images in tf.data's operation that gets a batch."""
    tf.profiler.experimental.stop()
    space = xplane_pb2.XSpace.FromString(traces.file(folder).read_bytes())
    events = []
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                start = line.timestamp_ns / 1e9 + event.offset_ps / 1e12
                span = start, start + event.duration_ps / 1e12
                events.append(Event(plane.name, line.name, plane.event_metadata[event.metadata_id].name, span))
    waiting = [event.span for event in events if event.name.startswith("IteratorGetNextOp")]
    return waiting, traces.device(events, "tf_Compute")


def viewer(folder: Path) -> str:
    """See `keras_resnet.backend.viewer`."""
    return f"tensorboard --logdir {folder}, with its profile plugin"


def momentum_step(variable: Any, velocity: Any, gradient: Any, rate: Any, momentum: float, nesterov: bool) -> bool:
    """See `keras_resnet.backend.momentum_step`. On one device only: a strategy's variables have a copy per device."""
    if tf.distribute.has_strategy():
        return False
    weights, velocities = (each if isinstance(each, tf.Variable) else each.value for each in (variable, velocity))
    tf.raw_ops.ResourceApplyKerasMomentum(
        var=weights.handle,
        accum=velocities.handle,
        lr=tf.cast(rate, weights.dtype),
        grad=tf.cast(gradient, weights.dtype),
        momentum=tf.cast(momentum, weights.dtype),
        use_nesterov=nesterov,
    )
    return True


def multi_step_function(model: keras.Model, count: int) -> Callable[..., Any]:
    """See `keras_resnet.backend.multi_step_function`. The steps are a loop in the graph."""
    step = tf.function(model.train_step, jit_compile=model.jit_compile, autograph=False)

    @partial(tf.function, autograph=False)
    def steps(batches: Any) -> Any:
        def body(number: Any) -> tuple[Any]:
            step(next(batches))
            return (number + 1,)

        tf.while_loop(lambda number: number < count, body, (0,))
        return model.get_metrics_result()

    return steps
