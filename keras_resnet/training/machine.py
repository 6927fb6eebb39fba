"""`Machine`: what the machine decides of a run, and the result does not depend on, but for rounding."""

from __future__ import annotations

from dataclasses import dataclass

from ..models.spec import option
from ..options import check_types


@dataclass(frozen=True, kw_only=True)
class Machine:
    """How a run uses the machine that it is on. No part of the recipe: a run may go on on another machine.

    Raises:
        ValueError: a value out of its range; the message names what was received and what is accepted.
    """

    devices: int | None = option(
        None, "devices of this process to train on (else all accelerators, on Torch one; or the processor)"
    )
    rematerialize: bool = option(False, "compute what is inside units again for gradients: less memory, more time")
    loop_units: bool = option(False, "trace and compile units that are alike once: a very deep network begins sooner")
    images_on_device: bool = option(False, "images in memory: keep them on the device, and cut and mirror them there")
    steps_per_execution: int = option(1, "steps that a device takes before the run hears of it again, at most")
    workers: int = option(0, "photographs: processes that decode them (0: threads of this one)")
    profile: bool = option(False, "trace some steps, and tell how much of them is input, device and host")
    save_every: float = option(15.0, "minutes between checkpoints within an epoch; there is one behind every epoch too")

    def __post_init__(self) -> None:
        check_types(Machine, vars(self))
        if self.devices is not None and self.devices < 1:
            raise ValueError(f"`devices` must be at least 1. Received: {self.devices!r}")
        if self.steps_per_execution < 1:
            raise ValueError(f"`steps_per_execution` must be at least 1. Received: {self.steps_per_execution!r}")
        if self.workers < 0:
            raise ValueError(f"`workers` must be at least 0. Received: {self.workers!r}")
        if not self.save_every > 0:
            raise ValueError(f"`save_every` must be above 0. Received: {self.save_every!r}")
