"""Batches made ahead of time by threads or worker processes, in order, through grain."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..host import reader_threads
from .errors import DataError


@dataclass(frozen=True)
class _Steps:
    """What grain reads from: the batches as if they lay there by number."""

    make: Callable[[int], tuple]
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, index: int) -> Any:
        return self.make(self.start + index)


def ahead(
    make: Callable[[int], tuple], start: int, stop: int | None = None, *, workers: int = 0, threads: int | None = None
) -> Iterator[tuple]:
    """Yields make(start), make(start + 1), ..., made ahead of time.

    An element of grain's pipeline is a whole batch: what a pipeline costs an element is then no matter. The order
    does not depend on who makes what, and the number of the next batch is all there is to a state.

    Args:
        make: a pure function that returns a tuple, of arrays among others; with workers it is pickled.
        start, stop: the first number, and the one behind the last; None for no end.
        workers: processes; 0 for threads of this one. They are spawned, so that a script which is run as a program
            has to begin behind `if __name__ == "__main__":`.
        threads: threads a process: by default one a worker, else as many as `host.reader_threads` says. 0
            makes each batch when it is asked for.

    Raises:
        DataError: a number is negative.
    """
    if workers < 0 or (threads is not None and threads < 0):
        raise DataError(f"`workers` and `threads` must be at least 0. Received: {workers} and {threads}")
    if threads is None:
        threads = 1 if workers else reader_threads()
    return _run(_Steps(make, start, 2**62 if stop is None else stop), workers, threads)


def _run(steps: _Steps, workers: int, threads: int) -> Iterator[tuple]:
    # Only here: grain imports JAX where it is installed, which takes a second and starts no device.
    import grain

    # One more than there are threads, so that none of them waits for the reader.
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=threads + 1 if threads else 0)
    batches = grain.MapDataset.source(steps).to_iter_dataset(options)
    if workers:
        _mark_flags_as_parsed()
        batches = batches.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=2))
    iterator = iter(batches)
    atexit.register(iterator.close)  # whoever holds this generator may never let go of it, as TensorFlow does
    try:
        # Out of the shared memory in which a worker's arrays come: it goes with them, whoever has a view of it.
        yield from map(_copied, iterator) if workers else iterator
    finally:
        atexit.unregister(iterator.close)
        iterator.close()


def _copied(made: tuple) -> tuple:
    return tuple(np.array(part) if isinstance(part, np.ndarray) else part for part in made)


def _mark_flags_as_parsed() -> None:
    """Lets grain read its flags' defaults in a program that has no absl flags (grain 0.2.18, its issue 1355)."""
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
