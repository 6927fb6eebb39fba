"""`Machine`: settings that depend on the machine and change the result of a run by no more than rounding."""

from __future__ import annotations

from dataclasses import dataclass

from ..options import check_fields, option


@dataclass(frozen=True, kw_only=True)
class Machine:
    """How a run uses its machine. Not part of the recipe: a run may be resumed on another machine.

    Raises:
        ValueError: a value is out of its range; the message gives the received and the accepted values.
    """

    devices: int | None = option(
        None, "devices this process trains on [all accelerators, on Torch one; else the CPU]", at_least=1
    )
    rematerialize: bool = option(False, "recompute activations within units for the gradients: less memory, more time")
    loop_units: bool = option(False, "trace and compile identical units once: a very deep network starts sooner")
    images_on_device: bool = option(False, "images in memory: store them on the device, and crop and mirror them there")
    steps_per_execution: int = option(
        1, "run up to this many training steps at once before callbacks run again", at_least=1
    )
    workers: int = option(0, "photographs: processes that decode them (0: threads of this process)", at_least=0)
    profile: bool = option(False, "trace some steps and report the time of input, device and host")
    save_every: float = option(
        15.0, "minutes between checkpoints within an epoch; every epoch ends with one, too", above=0
    )

    def __post_init__(self) -> None:
        check_fields(self)
