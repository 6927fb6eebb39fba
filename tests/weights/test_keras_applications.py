"""The networks compute what keras.applications' compute, from its weights; further tests are in `once`."""

import references


def test_imagenet_weights_compute_the_same_as_in_keras_applications(published):
    """For V2, whose layout differs from the paper's."""
    references.check_imagenet_weights(published, "ResNet50V2", include_top=False, side=64)
