"""The networks compute what keras.applications' compute, from its weights; more of them stands in `once`."""

import pytest

import references


@pytest.mark.parametrize("name", ["ResNet50", "ResNet50V2"])
def test_imagenet_weights_compute_there_and_here_the_same(published, name):
    references.check_imagenet_weights(published, name, include_top=True)
