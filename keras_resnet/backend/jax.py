"""JAX: `keras.distribution.DataParallel` on the devices of one process or of several."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import itertools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax import lax
from jax.experimental import multihost_utils
from jax.extend.random import threefry_2x32

from ..host import cores
from . import quietly, traces
from .devices import Devices, chosen, launcher, refuse_torchrun
from .jax_layers import add, batch_norm, convolution, max_pool, relu  # noqa: F401
from .traces import WAITING, Event, Span

TEXT = 1000  # bytes of what a process can say
LEAST = 8  # images that a core is worth
DRAWN = 1 << 14  # numbers that are drawn at once, of many weights or for few
PATIENCE = 60  # seconds that a process which ends waits for the others; if that is by an error, they wait for it


def accelerators() -> list[str]:
    """The names of this machine's accelerators."""
    return [device.device_kind for device in jax.local_devices() if device.platform != "cpu"]


def version() -> str:
    """The engine's version."""
    return importlib.metadata.version("jax")


def jit_compile() -> bool | str:
    """XLA compiles all that JAX has, also the layers that Keras takes out for TensorFlow's sake."""
    return True


def gradient(function: Callable[..., Any], variables: Sequence[Any]) -> Callable[..., list[Any]]:
    """See `keras_resnet.backend.gradient`. Values that are not handed over would be compiled into the program."""

    def of_values(leaves: list[Any], values: list[Any], *others: Any) -> Any:
        with keras.StatelessScope(list(zip(variables, values, strict=True))):
            return function(leaves, *others)

    compiled = jax.jit(jax.grad(of_values))
    return lambda leaves, *others: compiled(leaves, [variable.value for variable in variables], *others)


def normal(seed: int, shape: Sequence[int], deviation: float) -> jax.Array:
    """See `keras_resnet.backend.normal`. Compiled once; Keras has three programs compiled for each shape.

    That took nearly all of the time of a first network.
    """
    key, count = np.array([seed, 0], "uint32"), math.prod(shape)
    parts = [_normal(key, np.uint32(first)) for first in range(0, count, DRAWN)]
    drawn = np.concatenate(parts)[:count].reshape(shape)
    return jax.device_put(drawn * np.float32(deviation))


@jax.jit
def _normal(key: jax.Array, first: jax.Array) -> jax.Array:
    """`jax.random.normal`, of which each number depends on the key and on its place alone: those from one place on."""
    places = first + jnp.arange(DRAWN, dtype="uint32")
    high, low = jnp.split(threefry_2x32(key, jnp.concatenate([jnp.zeros_like(places), places])), 2)
    mantissas = ((high ^ low) >> 9) | np.float32(1).view("uint32")
    least = np.nextafter(np.float32(-1), np.float32(0))
    uniform = (lax.bitcast_convert_type(mantissas, "float32") - 1) * (1 - least) + least
    return np.float32(np.sqrt(2)) * lax.erf_inv(jnp.maximum(uniform, least))


def lay_out_kernel(_: Any) -> None:
    """As it is: XLA decides for itself."""


def eager() -> None:
    """None: a whole model is compiled."""


def start_trace(folder: Path) -> None:
    """See `keras_resnet.backend.start_trace`. What the steps before have begun ends first."""
    jax.effects_barrier()
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    jax.profiler.start_trace(folder, create_perfetto_trace=True, profiler_options=options)


def stop_trace(folder: Path) -> tuple[list[Span], list[Span]]:
    """See `keras_resnet.backend.stop_trace`."""
    with quietly():
        jax.profiler.stop_trace()
    events = [
        Event(plane.name, line.name, event.name, (event.start_ns / 1e9, (event.start_ns + event.duration_ns) / 1e9))
        for plane in jax.profiler.ProfileData.from_file(str(traces.file(folder))).planes
        for line in plane.lines
        for event in line.events
    ]
    return [event.span for event in events if event.name == WAITING], traces.device(events, "tf_XLA")


def waiting(batches: Iterator[Any]) -> Iterator[Any]:
    """See `keras_resnet.backend.waiting`."""
    return traces.marked(batches, lambda: jax.profiler.TraceAnnotation(WAITING))


def viewer(folder: Path) -> str:
    """See `keras_resnet.backend.viewer`."""
    perfetto = traces.file(folder).parent / "perfetto_trace.json.gz"
    return f"{perfetto} in ui.perfetto.dev, or tensorboard --logdir {folder}"


def lay_out_alike(variable: Any, other: Any) -> None:
    """As it is."""


def with_decay(gradients: Sequence[Any], variables: Sequence[Any], decay: float) -> Sequence[Any]:
    """See `keras_resnet.backend.with_decay`. One kernel with what the optimizer does."""
    pairs = zip(gradients, variables, strict=True)
    return [gradient + decay * keras.ops.convert_to_tensor(variable) for gradient, variable in pairs]


def at_rate(*given: Any) -> tuple[Any, ...]:
    """See `keras_resnet.backend.at_rate`. As they are: Keras updates variables one by one."""
    return given


def momentum_step(*_: Any) -> bool:
    """False: XLA makes one of what Keras does."""
    return False


def several_steps(model: keras.Model, count: int) -> Callable[..., Any]:
    """See `keras_resnet.backend.several_steps`. XLA's loops take ten times as long on processors."""
    return (one_by_one if jax.default_backend() == "cpu" else in_a_loop)(model, count)


def one_by_one(model: keras.Model, count: int) -> Callable[..., Any]:
    """Steps, each of them a call of the device."""
    step = jax.jit(model.train_step, donate_argnums=0)

    def several(state: Any, batches: Iterator[Any]) -> tuple[Any, Any]:
        for batch in itertools.islice(batches, count):
            logs, state = step(state, batch)
        return logs, state

    return several


def in_a_loop(model: keras.Model, count: int) -> Callable[..., Any]:
    """Steps that are traced once, all of them one call of the device."""

    def several(state: Any, batches: list[Any]) -> tuple[Any, Any]:
        leaves, form = jax.tree.flatten(state)

        def step(leaves: list[Any], batch: Any) -> tuple[list[Any], Any]:
            logs, state = model.train_step(form.unflatten(leaves), batch)
            return jax.tree.leaves(state), logs

        stacked = jax.tree.map(lambda *parts: jax.numpy.stack(parts), *batches)
        leaves, logs = jax.lax.scan(step, leaves, stacked)
        return jax.tree.map(lambda values: values[-1], logs), form.unflatten(leaves)

    compiled = jax.jit(several, donate_argnums=0)
    return lambda state, batches: compiled(state, list(itertools.islice(batches, count)))


def gradient_shares() -> int:
    """1: a gradient is that of the global batch."""
    return 1


def devices(count: int | None, spread: bool) -> Devices:
    """See `keras_resnet.backend.devices`."""
    spread = spread and count is None and not launched()
    refuse_torchrun("jax")
    if launched() and not jax.distributed.is_initialized():
        _join()
    elif spread or (count or 1) > 1:
        _take_cores_for_devices()
    everywhere: dict[int, list[Any]] = {}
    for device in jax.devices():
        everywhere.setdefault(device.process_index, []).append(device)
    fewest = min(len(found) for found in everywhere.values())
    on_cpu = jax.devices()[0].platform == "cpu"
    count = fewest if on_cpu and spread else chosen(count, 0 if on_cpu else fewest, fewest)
    if len(everywhere) == count == 1:
        return Devices()
    chosen_ones = [device for process in sorted(everywhere) for device in everywhere[process][:count]]
    return Cores(chosen_ones) if on_cpu and spread else DataParallel(chosen_ones)


def _take_cores_for_devices() -> None:
    """Has each core be a device where there is no other, unless XLA_FLAGS or a network before has settled it."""
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        with contextlib.suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", cores())


def launched() -> bool:
    """Whether a launcher has started this process as one of several; by the environment alone.

    It is asked for what `jax.distributed.initialize` would find, since that waits for the other processes: Keras's own
    variables, JAX's, a step of Slurm or of Open MPI with several tasks, an indexed job of Kubernetes in whose image
    the `kubernetes` package is, a TPU.
    """
    here = launcher()
    return (
        "JAX_COORDINATOR_ADDRESS" in here
        or int(here.get("KERAS_DISTRIBUTION_NUM_PROCESSES", 1)) > 1
        or ({"SLURM_STEP_NODELIST", "SLURM_PROCID"} <= here.keys() and int(here.get("SLURM_NTASKS", 1)) > 1)
        or int(here.get("OMPI_COMM_WORLD_SIZE", 1)) > 1
        or ("JOB_COMPLETION_INDEX" in here and importlib.util.find_spec("kubernetes") is not None)
        or (importlib.util.find_spec("libtpu") is not None and any(_tpu_chips()))
    )


def _tpu_chips() -> list[Path]:
    return [*Path("/dev").glob("accel[0-9]*"), *Path("/dev/vfio").glob("[0-9]*")]


def _join() -> None:
    """Joins the other processes.

    Raises:
        ValueError: JAX cannot tell who and where they are, or does not reach them.
    """
    here = launcher()
    process = {
        "coordinator_address": here.get("KERAS_DISTRIBUTION_JOB_ADDRESSES", "").split(",")[0] or None,
        "num_processes": int(here.get("KERAS_DISTRIBUTION_NUM_PROCESSES", 0)) or None,
        "process_id": int(here["KERAS_DISTRIBUTION_PROCESS_ID"]) if "KERAS_DISTRIBUTION_PROCESS_ID" in here else None,
    }
    try:
        jax.distributed.initialize(**process, shutdown_timeout_seconds=PATIENCE)
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"JAX could not join the other processes: {error} Its launcher, or KERAS_DISTRIBUTION_JOB_ADDRESSES, "
            "KERAS_DISTRIBUTION_NUM_PROCESSES and KERAS_DISTRIBUTION_PROCESS_ID must name them."
        ) from error


class DataParallel(Devices):
    """Several devices, of this process or of several.

    Args:
        devices: those of all processes, as many of each, process by process.
    """

    def __init__(self, devices: list[Any]) -> None:
        super().__init__(jax.process_count(), jax.process_index(), len(devices))
        names = [f"{device.platform}:{device.id}" for device in devices]
        self._devices = devices
        self._distribution = keras.distribution.DataParallel(devices=names, auto_shard_dataset=False)
        if self.processes > 1:
            with quietly():
                self.gather("")

    def scope(self) -> AbstractContextManager[Any]:
        return self._distribution.scope()

    @contextlib.contextmanager
    def for_saving(self, kept: Any) -> Iterator[None]:
        """Outside of the distribution: Keras makes variables of its own to save, for which all would have to wait."""
        keras.distribution.set_distribution(None)
        try:
            yield
        finally:
            keras.distribution.set_distribution(self._distribution)

    def gather(self, text: str) -> list[str]:
        said = np.zeros(TEXT, np.uint8)
        encoded = text.encode()[:TEXT]
        said[: len(encoded)] = np.frombuffer(encoded, np.uint8)
        gathered = multihost_utils.process_allgather(said)
        return [bytes(row).rstrip(b"\0").decode(errors="ignore") for row in gathered.reshape(-1, TEXT)]


class Cores(DataParallel):
    """The cores of a processor, as many of them as a batch is worth."""

    def dividing(self, size: int) -> Devices:
        counts = range(min(self.replicas, size // LEAST), 1, -1)
        count = next((count for count in counts if size % count == 0), 1)
        return Cores(self._devices[:count]) if count > 1 else Devices()
