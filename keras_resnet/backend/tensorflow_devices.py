"""TensorFlow's devices: one, or several of one machine by `tf.distribute.MirroredStrategy`."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import keras
import tensorflow as tf

from .devices import Devices, TestBatches, device_count, launcher_environment, refuse_torchrun


@functools.cache
def accelerators() -> list[str]:
    """The names of this machine's accelerators."""
    devices = tf.config.get_visible_devices("GPU")
    return [tf.config.experimental.get_device_details(device).get("device_name", "GPU") for device in devices]


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
    count = device_count(count, len(gpus), len(cpus))
    return Mirrored([device.name for device in (gpus or cpus)[:count]]) if count > 1 else Fed()


def _workers() -> int:
    try:
        cluster = json.loads(launcher_environment().get("TF_CONFIG") or "{}").get("cluster", {})
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

    def feed_test(self, batches: TestBatches) -> Any:
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

    supports_loops = False  # in which devices would have to wait for one another, for batch norm
    supports_accumulation = False  # Keras updates on a condition, within which devices cannot wait for one another

    def __init__(self, names: list[str]) -> None:
        super().__init__(replicas=len(names))
        self._strategy = tf.distribute.MirroredStrategy(names)

    def scope(self) -> AbstractContextManager[Any]:
        return self._strategy.scope()

    def prepare(self, logits_model: Any, training_model: Any) -> None:
        if isinstance(logits_model.optimizer, keras.optimizers.LossScaleOptimizer):
            logits_model.optimizer.apply = _with_equal_gradients(logits_model.optimizer.apply)
        _synchronize(logits_model, True)

    def feed_test(self, batches: TestBatches) -> Any:
        """Without end, since a distributed data set that ends takes `fit` down with it; each test begins it anew."""
        return self.feed(batches.repeated)

    @contextlib.contextmanager
    def saving_scope(self, logits_model: Any) -> Iterator[None]:
        _synchronize(logits_model, False)
        try:
            yield
        finally:
            _synchronize(logits_model, True)


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
