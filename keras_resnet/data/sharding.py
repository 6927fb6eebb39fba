"""How processes that train together share a batch."""

from .errors import DataError

Shard = tuple[int, int]


def check_shard(batch_size: int, shard: Shard) -> None:
    """Refuses what cannot be shared.

    Raises:
        DataError: If there is no such process, or the batch cannot be shared out evenly.
    """
    process, count = shard
    if not 0 <= process < count:
        raise DataError(f"shard={shard}: accepted are (process, processes), the first from 0 and below the second")
    if batch_size < 1 or batch_size % count:
        raise DataError(f"batch_size={batch_size} for {count} processes: accepted are multiples of {count}, from it up")


def share_of(count: int, shard: Shard) -> slice:
    """The part of a global batch of `count` images that is one process's: those of all processes make the batch."""
    process, processes = shard
    return slice(count * process // processes, count * (process + 1) // processes)
