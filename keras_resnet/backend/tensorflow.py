"""TensorFlow: one device, or several of one machine by `tf.distribute.MirroredStrategy`."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from . import traces
from .as_keras import add, max_pool, relu  # noqa: F401  which are TensorFlow's own
from .devices import Devices, chosen, launcher, refuse_torchrun
from .tensorflow_layers import batch_norm, convolution  # noqa: F401
from .traces import Event, Span

if TYPE_CHECKING:
    from ..training.testing import ImagesToTest


@functools.cache
def accelerators() -> list[str]:
    """The names of this machine's accelerators."""
    devices = tf.config.list_physical_devices("GPU")
    return [tf.config.experimental.get_device_details(device).get("device_name", "GPU") for device in devices]


def version() -> str:
    """The engine's version; its distribution has several names."""
    return tf.__version__


def jit_compile() -> bool | str:
    """Keras's choice: it knows the layers that XLA does not compile here."""
    return "auto"


def gradient(function: Callable[..., Any], _: Sequence[Any]) -> Callable[..., list[Any]]:
    """See `keras_resnet.backend.gradient`."""

    @tf.function(reduce_retracing=True)
    def run(leaves: list[Any], *others: Any) -> list[Any]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(leaves)
            value = function(leaves, *others)
        return tape.gradient(value, leaves, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    return run


def normal(seed: int, shape: Sequence[int], deviation: float) -> None:
    """Keras's: nothing of it is compiled."""


def lay_out_kernel(_: Any) -> None:
    """As it is: TensorFlow knows no other."""


def eager() -> None:
    """None: a whole model is compiled."""


def start_trace(folder: Path) -> None:
    """See `keras_resnet.backend.start_trace`."""
    tf.profiler.experimental.start(str(folder))


def stop_trace(folder: Path) -> tuple[list[Span], list[Span]]:
    """See `keras_resnet.backend.stop_trace`. The thread that takes a batch from tf.data waits for it."""
    tf.profiler.experimental.stop()
    space = xplane_pb2.XSpace.FromString(traces.file(folder).read_bytes())
    events = []
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                begun = line.timestamp_ns / 1e9 + event.offset_ps / 1e12
                span = begun, begun + event.duration_ps / 1e12
                events.append(Event(plane.name, line.name, plane.event_metadata[event.metadata_id].name, span))
    waited = [event.span for event in events if event.name.startswith("IteratorGetNextOp")]
    return waited, traces.device(events, "tf_Compute")


def waiting(batches: Iterator[Any]) -> Iterator[Any]:
    """As they are: tf.data fetches them ahead, in threads of its own."""
    return batches


def viewer(folder: Path) -> str:
    """See `keras_resnet.backend.viewer`."""
    return f"tensorboard --logdir {folder}, with its profile plugin"


def lay_out_alike(variable: Any, other: Any) -> None:
    """As it is."""


def with_decay(gradients: Sequence[Any], variables: Sequence[Any], decay: float) -> Sequence[Any]:
    """See `keras_resnet.backend.with_decay`. One kernel with what the optimizer does."""
    pairs = zip(gradients, variables, strict=True)
    return [gradient + decay * keras.ops.convert_to_tensor(variable) for gradient, variable in pairs]


def at_rate(*given: Any) -> tuple[Any, ...]:
    """See `keras_resnet.backend.at_rate`. As they are: Keras updates variables one by one."""
    return given


def momentum_step(variable: Any, velocity: Any, gradient: Any, rate: Any, momentum: float, nesterov: bool) -> bool:
    """See `keras_resnet.backend.momentum_step`. On one device: others have variables of several parts."""
    if tf.distribute.has_strategy():
        return False
    own, its = (each if isinstance(each, tf.Variable) else each.value for each in (variable, velocity))
    tf.raw_ops.ResourceApplyKerasMomentum(
        var=own.handle,
        accum=its.handle,
        lr=tf.cast(rate, own.dtype),
        grad=tf.cast(gradient, own.dtype),
        momentum=tf.cast(momentum, own.dtype),
        use_nesterov=nesterov,
    )
    return True


def several_steps(model: keras.Model, count: int) -> Callable[..., Any]:
    """See `keras_resnet.backend.several_steps`. A loop in the graph."""
    step = tf.function(model.train_step, jit_compile=model.jit_compile, autograph=False)

    @partial(tf.function, autograph=False)
    def several(batches: Any) -> Any:
        def body(number: Any) -> tuple[Any]:
            step(next(batches))
            return (number + 1,)

        tf.while_loop(lambda number: number < count, body, (0,))
        return model.get_metrics_result()

    return several


def gradient_shares() -> int:
    """Replicas, whose gradients MirroredStrategy adds up after `apply`; 1 outside of it."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def devices(count: int | None, _: bool) -> Devices:
    """See `keras_resnet.backend.devices`."""
    refuse_torchrun("tensorflow")
    if (workers := _workers()) > 1:
        raise ValueError(
            f"TF_CONFIG names {workers} workers, and Keras's fit() fails across machines on TensorFlow "
            "(MultiWorkerMirroredStrategy). Use --backend jax, or --backend torch under torchrun."
        )
    gpus, cpus = (tf.config.list_logical_devices(kind) for kind in ("GPU", "CPU"))
    count = chosen(count, len(gpus), len(cpus))
    return Mirrored([device.name for device in (gpus or cpus)[:count]]) if count > 1 else Fed()


def _workers() -> int:
    try:
        cluster = json.loads(launcher().get("TF_CONFIG") or "{}").get("cluster", {})
    except json.JSONDecodeError as error:
        raise ValueError(f"TF_CONFIG is no JSON: {error}") from error
    return sum(len(cluster.get(job, ())) for job in ("chief", "worker"))


class Fed(Devices):
    """One device, with data sets in front of it that do not tune themselves.

    Keras would make data sets that do. The thread that tunes them may miss that their iterator has been dropped, which
    then waits for that thread: about as long as the iterator has been in use, up to a minute
    (`kOptimizationPeriodMaxMs` in TensorFlow's source), and wherever Python happens to collect it. There is nothing to
    tune where a generator gives the batches.
    """

    def feed(self, batches: Callable[[], Iterator[Any]]) -> Any:
        """A data set that begins anew: Keras looks at some batches beforehand, and would lose them of an iterator."""
        begun = batches()
        first = next(begun)
        unread = [itertools.chain([first], begun)]
        return _untuned(lambda: unread.pop() if unread else batches(), first)

    def feed_test(self, batches: ImagesToTest) -> Any:
        """Of batches that threads make, Keras's own data set, which they keep from tuning itself."""
        if batches.workers > 1:
            return batches
        whole = _untuned(lambda: (batches[index] for index in range(len(batches))), batches[0])
        return whole.apply(tf.data.experimental.assert_cardinality(len(batches)))


def _untuned(batches: Callable[[], Iterator[Any]], first: Sequence[Any]) -> tf.data.Dataset:
    """A data set of batches that are like the first."""
    signature = tuple(tf.TensorSpec(array.shape, array.dtype) for array in first)
    options = tf.data.Options()
    options.autotune.enabled = False
    return tf.data.Dataset.from_generator(batches, output_signature=signature).prefetch(2).with_options(options)


class Mirrored(Fed):
    """Several devices of this machine, in one process.

    Dropout draws the same masks on every device.

    Args:
        names: the devices.
    """

    loops = False  # in which devices would have to wait for one another, for batch norm
    accumulates = False  # Keras updates on a condition, within which devices cannot wait for one another

    def __init__(self, names: list[str]) -> None:
        super().__init__(replicas=len(names))
        self._strategy = tf.distribute.MirroredStrategy(names)

    def scope(self) -> AbstractContextManager[Any]:
        return self._strategy.scope()

    def prepare(self, kept: Any, fitted: Any) -> None:
        if isinstance(kept.optimizer, keras.optimizers.LossScaleOptimizer):
            kept.optimizer.apply = _with_equal_gradients(kept.optimizer.apply)
        _synchronize(kept, True)

    def feed_test(self, batches: ImagesToTest) -> Any:
        """Without end, since a distributed data set that ends takes `fit` down with it; each test begins it anew."""
        return self.feed(batches.without_end)

    @contextlib.contextmanager
    def for_saving(self, kept: Any) -> Iterator[None]:
        _synchronize(kept, False)
        try:
            yield
        finally:
            _synchronize(kept, True)


def _with_equal_gradients(apply: Callable[..., None]) -> Callable[..., None]:
    """The `apply` of an optimizer that scales the loss, which takes the first device's gradients for everyone's.

    If those are finite and another's are not, it would apply them.
    """

    def apply_equal(grads: Sequence[Any], trainable_variables: Any = None) -> None:
        there = [grad for grad in grads if grad is not None]
        means = iter(tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, there))
        apply([None if grad is None else next(means) for grad in grads], trainable_variables)

    return apply_equal


def _synchronize(model: Any, synchronized: bool) -> None:
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = synchronized
