"""The networks compute what torchvision's compute, from its files, and give its files back."""

import pytest

import references


@pytest.mark.parametrize("depth", [18, 50])  # a network of basic units, and one of bottlenecks; others stand in `once`
def test_logits_for_torchvisions_seeded_weights_and_the_weights_back_again(shared, tmp_path, depth):
    references.check_logits_and_the_weights_back_again(shared, tmp_path, depth)
