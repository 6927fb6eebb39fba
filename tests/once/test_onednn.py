"""Which convolutions oneDNN must not be given; `models/test_fast_layers.py` tests their replacements."""

from __future__ import annotations

import pytest

from keras_resnet.backend.onednn import has_gradient_bug


@pytest.mark.parametrize(
    ("kernel", "strides", "buggy"),
    [
        ((1, 1, 4, 8), (2, 2), True),
        ((1, 1, 15, 64), (2, 2), True),
        ((1, 1, 4, 8), (1, 2), True),
        ((1, 1, 16, 8), (2, 2), False),  # as many channels as oneDNN's kernels process at once
        ((1, 1, 4, 8), (1, 1), False),
        ((3, 3, 4, 8), (2, 2), False),
        ((1, 3, 4, 8), (2, 2), False),
    ],
)
def test_strided_1x1_convolutions_of_fewer_channels_than_a_block_have_the_bug(kernel, strides, buggy):
    """https://github.com/uxlfoundation/oneDNN/issues/6035"""
    assert has_gradient_bug(kernel, strides) is buggy
    assert has_gradient_bug(list(kernel), list(strides)) is buggy  # Torch's shapes and Keras's configurations
