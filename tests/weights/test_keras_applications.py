"""The networks compute what keras.applications' compute, from its weights; more of them stands in `once`."""

import references


def test_imagenet_weights_compute_there_and_here_the_same(published):
    """Of version 2, whose layout is not the paper's."""
    references.check_imagenet_weights(published, "ResNet50V2", include_top=False, side=64)
