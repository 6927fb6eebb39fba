"""TensorFlow's devices: one, or several of the same machine by `tf.distribute.MirroredStrategy`."""

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

from .devices import Devices, TestBatches, device_count, launcher_environment, refuse_torchrun, seed_of_device


@functools.cache
def accelerators() -> list[str]:
    """Returns the names of this machine's accelerators."""
    devices = tf.config.get_visible_devices("GPU")
    return [tf.config.experimental.get_device_details(device).get("device_name", "GPU") for device in devices]


def gradient_shares() -> int:
    """Returns the number of replicas, whose gradients MirroredStrategy sums after `apply`; 1 outside of its scope."""
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
        raise ValueError(f"TF_CONFIG is not valid JSON: {error}") from error
    return sum(len(cluster.get(job, ())) for job in ("chief", "worker"))


class Fed(Devices):
    """One device, fed by `tf.data` data sets without autotuning.

    Keras's own data sets have autotuning. Its thread may miss that the data set's iterator has been dropped, and the
    iterator's destructor then waits for that thread: about as long as the iterator has been in use, up to a minute
    (`kOptimizationPeriodMaxMs` in TensorFlow's source), wherever Python happens to collect it. There is nothing to tune
    where a generator yields the batches.
    """

    def feed(self, batches: Callable[[], Iterator[Any]]) -> Any:
        """Returns a data set that can start again: Keras first reads some batches, which an iterator would lose."""
        iterator = batches()
        first = next(iterator)
        unread = [itertools.chain([first], iterator)]
        return _without_autotuning(lambda: unread.pop() if unread else batches(), first)

    def feed_test(self, batches: TestBatches) -> Any:
        """Returns the batches if threads prepare them, since Keras disables autotuning for these; else a data set."""
        if batches.workers > 1:
            return batches
        dataset = _without_autotuning(lambda: (batches[index] for index in range(len(batches))), batches[0])
        return dataset.apply(tf.data.experimental.assert_cardinality(len(batches)))


def _without_autotuning(batches: Callable[[], Iterator[Any]], first: Sequence[Any]) -> tf.data.Dataset:
    """Returns a data set of batches that have the shapes and dtypes of the first."""
    signature = tuple(tf.TensorSpec(array.shape, array.dtype) for array in first)
    options = tf.data.Options()
    options.autotune.enabled = False
    return tf.data.Dataset.from_generator(batches, output_signature=signature).prefetch(2).with_options(options)


class Mirrored(Fed):
    """Several devices of this machine, in one process.

    Args:
        names: TensorFlow's names of the devices.
    """

    supports_loops = False  # devices cannot wait for one another in a loop, as batch norm makes them
    supports_accumulation = False  # Keras's update is conditional then, and devices cannot wait within a condition

    def __init__(self, names: list[str]) -> None:
        super().__init__(replicas=len(names))
        self._strategy = tf.distribute.MirroredStrategy(names)

    def scope(self) -> AbstractContextManager[Any]:
        return self._strategy.scope()

    def prepare(self, logits_model: Any, training_model: Any) -> None:
        for variable in training_model.non_trainable_variables:
            if "seed_generator" in variable.path:
                for number, copy in enumerate(variable.value.values):  # the first is the one that is saved
                    copy.assign(seed_of_device(copy.numpy().tolist(), number))
        if isinstance(logits_model.optimizer, keras.optimizers.LossScaleOptimizer):
            logits_model.optimizer.apply = _with_equal_gradients(logits_model.optimizer.apply)
        _synchronize(logits_model, True)

    def feed_test(self, batches: TestBatches) -> Any:
        """Returns an endless data set, since `fit` fails at the end of a distributed one; each test starts it again."""
        return self.feed(batches.repeated)

    @contextlib.contextmanager
    def saving_scope(self, logits_model: Any) -> Iterator[None]:
        _synchronize(logits_model, False)
        try:
            yield
        finally:
            _synchronize(logits_model, True)


def _with_equal_gradients(apply: Callable[..., None]) -> Callable[..., None]:
    """Wraps the `apply` of a LossScaleOptimizer to be given the same mean gradients on all devices.

    The optimizer checks the first device's gradients only: if these were finite and another's were not, it would apply
    them all.
    """

    def apply_equal(grads: Sequence[Any], trainable_variables: Any = None) -> None:
        present = [grad for grad in grads if grad is not None]
        means = iter(tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, present))
        apply([None if grad is None else next(means) for grad in grads], trainable_variables)

    return apply_equal


def _synchronize(model: Any, synchronized: bool) -> None:
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = synchronized
