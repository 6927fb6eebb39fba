"""What TensorFlow and Torch must keep from oneDNN, which computes their convolutions on processors."""

from __future__ import annotations

from collections.abc import Sequence

BLOCK = 16  # channels that its kernels take at once, with AVX-512


def has_gradient_bug(kernel: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether a convolution's gradient may be wrong, or written over other memory, so that a process dies somewhere.

    So it is of a strided 1x1 convolution of few channels (https://github.com/uxlfoundation/oneDNN/issues/6035). The
    same without strides, of the positions that they choose, is sound.

    Args:
        kernel: its shape: rows, columns, channels, filters.
        strides: over rows and columns.
    """
    return max(strides) > 1 and tuple(kernel[:2]) == (1, 1) and kernel[2] < BLOCK
