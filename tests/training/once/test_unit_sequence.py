"""Various networks split into units learn the same; those that depend on the backend are tested outside `once`."""

from __future__ import annotations

import pytest

NETWORKS = {
    "projections": {"shortcut": "C", "order": "bn_after_addition"},
    "max-pooling": {"shortcut": None, "downsample": "max_pool"},
    "bottleneck": {"unit": "bottleneck", "skip": "exclusive_gating"},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_in_units_changes_every_variable_as_without_them(a_step_in_units, name):
    a_step_in_units(NETWORKS[name], [{"rematerialize": True, "loop": True}])
