"""A run that is asked to stop loses nothing; see also `once`."""

from __future__ import annotations

import signal


def test_a_run_asked_to_stop_saves_the_step_it_is_at_and_ends_bit_equal(stopped_twice):
    stopped_twice(signal.SIGTERM)
