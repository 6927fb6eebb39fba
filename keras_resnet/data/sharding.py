"""How processes that train together share a batch."""

from __future__ import annotations

from .errors import DataError

Shard = tuple[int, int]


def check_shard(batch_size: int, shard: Shard) -> None:
    """Refuses what cannot be shared.

    Raises:
        DataError: there is no such process, or the batch cannot be shared out evenly.
    """
    process, count = shard
    if not 0 <= process < count:
        raise DataError(
            f"`shard` must be (process, processes), the first from 0 and below the second. Received: {shard}"
        )
    if batch_size < 1 or batch_size % count:
        raise DataError(
            f"`batch_size` must be a positive multiple of the number of processes, {count}. Received: {batch_size}"
        )


def share_of(count: int, shard: Shard) -> slice:
    """The part of a global batch of `count` images that is one process's: those of all processes make the batch."""
    process, processes = shard
    return slice(count * process // processes, count * (process + 1) // processes)
