"""`Machine`: what the machine decides of a run, and the result does not depend on."""

from __future__ import annotations

from dataclasses import dataclass

from ..models.spec import option


@dataclass(frozen=True, kw_only=True)
class Machine:
    """How a run uses the machine that it is on. No part of the recipe: a run may go on on another machine.

    Raises:
        ValueError: a value out of its range.
    """

    devices: int | None = option(None, "devices of this process to train on (else all accelerators, or one processor)")

    def __post_init__(self) -> None:
        if self.devices is not None and self.devices < 1:
            raise ValueError(f"`devices` must be at least 1. Received: {self.devices!r}")
