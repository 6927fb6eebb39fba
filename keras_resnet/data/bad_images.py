"""Handling of images that cannot be decoded: they are logged and counted, and too many of them end the run."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from .errors import DataError

LOG = logging.getLogger("keras_resnet.data")
BAD_SHARE = 0.01
ALWAYS_ACCEPTED = 10

_logged: set[str] = set()  # each process logs a file once, however many epochs meet it


class BadImages:
    """The undecodable images of one side of a data set.

    Args:
        where: the data set and the side, for messages.
        total: the number of images of this side.
        share: the share of them that may be undecodable. Up to 10 images are always tolerated, so that a small set does
            not fail because of a single one.

    Attributes:
        names: the undecodable images met so far.
        times: how often one was met since the last `report`.
    """

    def __init__(self, where: str, total: int, share: float = BAD_SHARE) -> None:
        if not 0 <= share <= 1:
            raise DataError(f"`bad_share` must be from 0 to 1. Received: {share}")
        self.where, self.total, self.share = where, total, share
        self.limit = max(ALWAYS_ACCEPTED, int(share * total))
        self.names: dict[str, None] = {}  # an ordered set
        self.times = 0

    def note(self, names: Iterable[str]) -> None:
        """Counts undecodable images and logs those that this process has not logged before.

        Raises:
            DataError: there are too many of them.
        """
        for name in names:
            self.times += 1
            self.names[name] = None
            if name not in _logged:
                _logged.add(name)
                LOG.warning("%s cannot be decoded as an image and is skipped", name)
        self.check(self.names)

    def check(self, names: Iterable[str]) -> None:
        """Checks that the number of different names is acceptable.

        Raises:
            DataError: there are too many; the message lists the first three.
        """
        names = list(dict.fromkeys(names))
        if len(names) > min(self.limit, self.total - 1):
            raise DataError(
                f"{self.where}: {len(names)} of {self.total} images cannot be decoded, the first are "
                f"{', '.join(names[:3])}. Accepted: up to {min(self.limit, self.total - 1)} (bad_share={self.share})"
            )

    def report(self, when: str) -> None:
        """Logs how often undecodable images were met, if at all, and restarts the count."""
        if self.times:
            LOG.warning(
                "%s, %s: met images that cannot be decoded %d times; %d different ones so far, of %d",
                *(self.where, when, self.times, len(self.names), self.total),
            )
        self.times = 0
