"""`Machine`: what a machine decides about a run whose result does not depend on it."""

from __future__ import annotations

from dataclasses import dataclass

from ..models.spec import option
from ..options import check_types


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What may differ from one start of a run to the next: the recipe says what comes out, this how it gets there.

    Raises:
        ValueError: a value out of its range; the message names what was received and what is accepted.
    """

    save_every: float = option(15.0, "minutes between checkpoints within an epoch; there is one behind every epoch too")

    def __post_init__(self) -> None:
        check_types(Machine, vars(self))
        if not self.save_every > 0:
            raise ValueError(f"`save_every` must be above 0. Received: {self.save_every!r}")
