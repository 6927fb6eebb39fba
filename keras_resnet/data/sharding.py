"""Distribution of global batches over the processes that train together."""

from __future__ import annotations

from .errors import DataError

Shard = tuple[int, int]


def check_shard(batch_size: int, shard: Shard) -> None:
    """Checks that a batch can be divided evenly among the processes.

    Raises:
        DataError: the process number is out of range, or the batch size is no multiple of the number of processes.
    """
    process, count = shard
    if not 0 <= process < count:
        raise DataError(f"`shard` must be (process, processes), where 0 <= process < processes. Received: {shard}")
    if batch_size < 1 or batch_size % count:
        raise DataError(
            f"`batch_size` must be a positive multiple of the number of processes, {count}. Received: {batch_size}"
        )


def share_of(count: int, shard: Shard) -> slice:
    """Returns one process's part of a global batch of `count` images; the parts of all processes make up the batch."""
    process, processes = shard
    return slice(count * process // processes, count * (process + 1) // processes)
