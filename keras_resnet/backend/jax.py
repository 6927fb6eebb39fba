"""The JAX backend, on which XLA compiles whole steps; see `keras_resnet.backend`."""

from __future__ import annotations

import importlib.metadata
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax import lax
from jax.extend.random import threefry_2x32

from . import traces
from .engine_defaults import (  # noqa: F401
    add_decay,
    can_export_graphs,
    eager_layers,
    gradient_shares,
    match_layout,
    momentum_step,
    move_averages,
    set_kernel_layout,
    update_arguments,
)
from .jax_devices import accelerators, devices  # noqa: F401
from .jax_layers import add, batch_norm, convolution, max_pool, relu  # noqa: F401
from .selection import silenced
from .traces import WAITING, Event, Span

DRAWN = 1 << 14  # random numbers per call: large weights take several calls, and small ones discard the surplus


def version() -> str:
    """Returns JAX's version."""
    return importlib.metadata.version("jax")


def jit_compile() -> bool | str:
    """Returns True: XLA compiles all of JAX, including layers that Keras excludes because of TensorFlow."""
    return True


def gradient(function: Callable[..., Any], variables: Sequence[Any]) -> Callable[..., list[Any]]:
    """See `keras_resnet.backend.gradient`. Variables are arguments, or their values would be compiled as constants."""

    def stateless(arrays: list[Any], values: list[Any], *others: Any) -> Any:
        with keras.StatelessScope(list(zip(variables, values, strict=True))):
            return function(arrays, *others)

    compiled = jax.jit(jax.grad(stateless))
    return lambda arrays, *others: compiled(arrays, [variable.value for variable in variables], *others)


def normal(seed: int, shape: Sequence[int], deviation: float) -> jax.Array | None:
    """See `keras_resnet.backend.normal`. One program is compiled for all shapes.

    Keras's implementation compiles three for each shape, which took nearly all the time of building a first network.
    Where JAX compiles the drawing itself, Keras's is used: Keras has large variables drawn on many devices like that.
    """
    if isinstance(jnp.zeros(()), jax.core.Tracer):
        return None
    key, count = np.array([seed, 0], "uint32"), math.prod(shape)
    parts = [_normal(key, np.uint32(first)) for first in range(0, count, DRAWN)]
    values = np.concatenate(parts)[:count].reshape(shape)
    return jax.device_put(values * np.float32(deviation))


@jax.jit
def _normal(key: jax.Array, first: jax.Array) -> jax.Array:
    """Returns `DRAWN` numbers of `jax.random.normal`, from index `first` on.

    Each number depends on the key and on its own index alone, so they can be drawn in parts.
    """
    indices = first + jnp.arange(DRAWN, dtype="uint32")
    high, low = jnp.split(threefry_2x32(key, jnp.concatenate([jnp.zeros_like(indices), indices])), 2)
    mantissas = ((high ^ low) >> 9) | np.float32(1).view("uint32")
    lowest = np.nextafter(np.float32(-1), np.float32(0))
    uniform = (lax.bitcast_convert_type(mantissas, "float32") - 1) * (1 - lowest) + lowest
    return np.float32(np.sqrt(2)) * lax.erf_inv(jnp.maximum(uniform, lowest))


def start_trace(folder: Path) -> None:
    """See `keras_resnet.backend.start_trace`. Waits for earlier steps, so that they are not in the trace."""
    jax.effects_barrier()
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    jax.profiler.start_trace(folder, create_perfetto_trace=True, profiler_options=options)


def stop_trace(folder: Path) -> tuple[list[Span], list[Span]]:
    """See `keras_resnet.backend.stop_trace`."""
    with silenced():
        jax.profiler.stop_trace()
    events = [
        Event(plane.name, line.name, event.name, (event.start_ns / 1e9, (event.start_ns + event.duration_ns) / 1e9))
        for plane in jax.profiler.ProfileData.from_file(str(traces.file(folder))).planes
        for line in plane.lines
        for event in line.events
    ]
    return [event.span for event in events if event.name == WAITING], traces.device(events, "tf_XLA")


def mark_waiting(batches: Iterator[Any]) -> Iterator[Any]:
    """See `keras_resnet.backend.mark_waiting`."""
    return traces.marked(batches, lambda: jax.profiler.TraceAnnotation(WAITING))


def viewer(folder: Path) -> str:
    """See `keras_resnet.backend.viewer`."""
    perfetto = traces.file(folder).parent / "perfetto_trace.json.gz"
    return f"{perfetto} in ui.perfetto.dev, or tensorboard --logdir {folder}"


def multi_step_function(model: keras.Model, count: int) -> Callable[..., Any]:
    """See `keras_resnet.backend.multi_step_function`. On processors, a step takes ten times as long in XLA's loops."""
    return (one_by_one if jax.default_backend() == "cpu" else in_a_loop)(model, count)


def one_by_one(model: keras.Model, count: int) -> Callable[..., Any]:
    """Returns a function that takes several steps, each in a call of its own to the device."""
    step = jax.jit(model.train_step, donate_argnums=0)

    def steps(state: Any, batches: Iterator[Any]) -> tuple[Any, Any]:
        for batch in itertools.islice(batches, count):
            logs, state = step(state, batch)
        return logs, state

    return steps


def in_a_loop(model: keras.Model, count: int) -> Callable[..., Any]:
    """Returns a function that takes several steps in one call to the device; a step is traced once."""

    def steps(state: Any, batches: list[Any]) -> tuple[Any, Any]:
        leaves, structure = jax.tree.flatten(state)

        def step(leaves: list[Any], batch: Any) -> tuple[list[Any], Any]:
            logs, state = model.train_step(jax.tree.unflatten(structure, leaves), batch)
            return jax.tree.leaves(state), logs

        stacked = jax.tree.map(lambda *parts: jax.numpy.stack(parts), *batches)
        leaves, logs = jax.lax.scan(step, leaves, stacked)
        return jax.tree.map(lambda values: values[-1], logs), jax.tree.unflatten(structure, leaves)

    compiled = jax.jit(steps, donate_argnums=0)
    return lambda state, batches: compiled(state, list(itertools.islice(batches, count)))
