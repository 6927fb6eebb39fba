"""What all steps of a run share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..backend.devices import Devices
from .feed import Feed
from .folder import RunFolder
from .interruption import StopRequest
from .recipe import Recipe


@dataclass(frozen=True)
class RunContext:
    """A run in this process, as its steps share it.

    Attributes:
        feed: its batches, made of its resolved recipe, data, devices and settings of the machine.
        folder: its folder.
        stop: the request to stop, if one comes.
        say: called with each line reported to the user.
    """

    feed: Feed
    folder: RunFolder
    stop: StopRequest
    say: Callable[[str], None] = print

    @property
    def recipe(self) -> Recipe:
        """The resolved recipe."""
        return self.feed.recipe

    @property
    def devices(self) -> Devices:
        """The devices that the run trains on."""
        return self.feed.devices
