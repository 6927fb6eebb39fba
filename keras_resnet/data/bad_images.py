"""What becomes of images that do not decode: they are named and counted, and too many of them end the run."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from .errors import DataError

LOG = logging.getLogger("keras_resnet.data")
BAD_SHARE = 0.01
ALWAYS_ACCEPTED = 10

_named: set[str] = set()  # a process names each file once, however many epochs meet it


class BadImages:
    """The bad images of one side of a data set.

    Args:
        where: the data set and the side, for messages.
        total: the images there are.
        share: the share of them that may be bad. Up to 10 may be in any case, so that a small set does not
            fail over one.

    Attributes:
        names: those met so far.
        times: how often one was met since the last `report`.
    """

    def __init__(self, where: str, total: int, share: float = BAD_SHARE) -> None:
        if not 0 <= share <= 1:
            raise DataError(f"`bad_share` must be from 0 to 1. Received: {share}")
        self.where, self.total, self.share = where, total, share
        self.limit = max(ALWAYS_ACCEPTED, int(share * total))
        self.names: dict[str, None] = {}  # a set that keeps its order
        self.times = 0

    def note(self, names: Iterable[str]) -> None:
        """Counts bad images, and names those in the log that this process has not named yet.

        Raises:
            DataError: there are now too many.
        """
        for name in names:
            self.times += 1
            self.names[name] = None
            if name not in _named:
                _named.add(name)
                LOG.warning("%s is not a whole image, and is passed over", name)
        self.check(self.names)

    def check(self, names: Iterable[str]) -> None:
        """Refuses too many different names.

        Raises:
            DataError: with the first three.
        """
        names = list(dict.fromkeys(names))
        if len(names) > min(self.limit, self.total - 1):
            raise DataError(
                f"{self.where}: {len(names)} of {self.total} images are not whole, the first are "
                f"{', '.join(names[:3])}. Accepted: up to {min(self.limit, self.total - 1)} (bad_share={self.share})"
            )

    def report(self, when: str) -> None:
        """Tells the log how often a bad image was met, if one was, and starts counting anew."""
        if self.times:
            LOG.warning(
                "%s, %s: came %d times upon an image that is not whole; %d different ones so far, of %d",
                *(self.where, when, self.times, len(self.names), self.total),
            )
        self.times = 0
