"""A run that is asked to stop loses no progress; see also `once`."""

from __future__ import annotations

import signal


def test_a_run_asked_to_stop_saves_its_step_and_ends_bit_equal_when_resumed(stopped_twice):
    stopped_twice(signal.SIGTERM)
