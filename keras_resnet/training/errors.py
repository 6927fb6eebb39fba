"""The error of a run that diverges; for that of a run that is asked to stop, see `interruption`. Needs no Keras."""

from __future__ import annotations


class DivergedError(RuntimeError):
    """The loss or a variable of a run is no longer finite.

    Attributes:
        probe: whether the run was the probe of another run.
    """

    probe = False
