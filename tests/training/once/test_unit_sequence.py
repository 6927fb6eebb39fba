"""Networks of all kinds learn in units what they learn whole; those that a backend has a part in, it is tested with."""

from __future__ import annotations

import pytest

NETWORKS = {
    "projections": {"shortcut": "C", "order": "bn_after_addition"},
    "max-pooling": {"shortcut": None, "downsample": "max_pool"},
    "bottleneck": {"unit": "bottleneck", "skip": "exclusive_gating"},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_changes_every_variable_as_it_would_without(a_step_in_units, name):
    a_step_in_units(NETWORKS[name], [{"rematerialize": True, "loop": True}])
