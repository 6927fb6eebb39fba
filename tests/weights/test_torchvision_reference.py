"""The networks compute what torchvision's do, from its files; more depths and the way back are tested in `once`."""

import pytest

import references


@pytest.mark.parametrize("depth", [18, 50])
def test_logits_for_torchvisions_seeded_weights(shared, tmp_path, depth):
    references.check_torchvision_logits(shared, tmp_path, depth)
