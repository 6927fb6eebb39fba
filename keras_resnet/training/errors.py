"""How a run ends that does not come to a result; one that is asked to stop, see `interruption`. Needs no Keras."""

from __future__ import annotations


class DivergedError(RuntimeError):
    """The loss is no longer a number.

    Attributes:
        probe: whether that was in the run before a run.
    """

    probe = False
