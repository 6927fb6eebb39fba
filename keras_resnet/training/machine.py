"""`Machine`: what the machine decides of a run, and the result does not depend on, but for rounding."""

from __future__ import annotations

from dataclasses import dataclass

from ..options import check_fields, option


@dataclass(frozen=True, kw_only=True)
class Machine:
    """How a run uses the machine that it is on. No part of the recipe: a run may go on on another machine.

    Raises:
        ValueError: a value out of its range; the message names what was received and what is accepted.
    """

    devices: int | None = option(
        None,
        "devices of this process to train on (else all accelerators, on Torch one; or the processor)",
        at_least=1,
    )
    rematerialize: bool = option(False, "compute what is inside units again for gradients: less memory, more time")
    loop_units: bool = option(False, "trace and compile units that are alike once: a very deep network begins sooner")
    images_on_device: bool = option(False, "images in memory: keep them on the device, and cut and mirror them there")
    steps_per_execution: int = option(
        1, "steps that a device takes before the run hears of it again, at most", at_least=1
    )
    workers: int = option(0, "photographs: processes that decode them (0: threads of this one)", at_least=0)
    profile: bool = option(False, "trace some steps, and tell how much of them is input, device and host")
    save_every: float = option(
        15.0, "minutes between checkpoints within an epoch; there is one behind every epoch too", above=0
    )

    def __post_init__(self) -> None:
        check_fields(self)
