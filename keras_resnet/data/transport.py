"""Prefetching: batches are made ahead of time and in order by threads or worker processes, using grain."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import numpy as np

from ..host import reader_threads
from .errors import DataError

Batch = TypeVar("Batch", bound=tuple[Any, ...])


@dataclass(frozen=True)
class _Steps:
    """A random-access data source for grain, whose elements are the batches."""

    make: Callable[[int], tuple[Any, ...]]
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, index: int) -> Any:
        return self.make(self.start + index)


def prefetch(
    make: Callable[[int], Batch], start: int, stop: int | None = None, *, workers: int = 0, threads: int | None = None
) -> Iterator[Batch]:
    """Yields make(start), make(start + 1), ..., computed ahead of time.

    An element of the grain pipeline is an entire batch, so that the overhead per element is negligible. The order does
    not depend on the number of threads or workers, and the number of the next batch is the only state.

    Args:
        make: a pure function that returns a tuple of arrays and other objects; pickled if there are workers.
        start, stop: the first number, and the one after the last; None for no end.
        workers: the number of worker processes; 0 for threads of this process. Workers are spawned, so a script must
            start its work within `if __name__ == "__main__":`.
        threads: the number of threads per process; by default 1 per worker, or `host.reader_threads()` without
            workers. 0 computes each batch on demand.

    Raises:
        DataError: `workers` or `threads` is negative, or a worker process was killed.
    """
    if workers < 0 or (threads is not None and threads < 0):
        raise DataError(f"`workers` and `threads` must be at least 0. Received: {workers} and {threads}")
    if threads is None:
        threads = 1 if workers else reader_threads()
    return _run(_Steps(make, start, 2**62 if stop is None else stop), workers, threads)


def _run(steps: _Steps, workers: int, threads: int) -> Iterator[Any]:
    # Imported here because grain imports JAX if it is installed, which takes a second but initialises no device.
    import grain

    # One more element than threads, so that no thread waits for the consumer.
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads + 1 if threads else 0)
    batches = grain.MapDataset.source(steps).to_iter_dataset(options)
    if workers:
        _mark_flags_as_parsed()
        batches = batches.mp_prefetch(
            grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=2), worker_init_fn=_prepare_worker
        )
    iterator = iter(batches)
    atexit.register(iterator.close)  # the holder of this generator may never release it, as in TensorFlow
    try:
        # Workers return arrays in shared memory, which is freed with them even while views of it are in use: copy them.
        yield from map(_copied, iterator) if workers else iterator
    except RuntimeError as error:
        if "terminated unexpectedly" not in str(error):  # grain's words
            raise
        raise DataError(
            "A worker process that prepares batches has ended unexpectedly, perhaps because memory ran out. Run again, "
            "or choose fewer `workers`."
        ) from error
    finally:
        atexit.unregister(iterator.close)
        iterator.close()


def _prepare_worker(_worker: int, _workers: int) -> None:
    """Makes this worker process end when its parent does, however that ends, and not before.

    grain's workers end when the parent asks them to, which a parent that was killed cannot do. And a signal from the
    keyboard or a scheduler reaches the entire process group, while the parent still needs its workers to end in order.
    """
    for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)

    def wait(parent: BaseProcess) -> None:
        parent.join()
        os._exit(1)

    if parent := multiprocessing.parent_process():  # as in every worker
        threading.Thread(target=wait, args=(parent,), daemon=True).start()


def _copied(batch: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(np.array(part) if isinstance(part, np.ndarray) else part for part in batch)


def _mark_flags_as_parsed() -> None:
    """Lets grain read the defaults of its flags in a program that parses no absl flags (grain 0.2.18, issue 1355)."""
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
