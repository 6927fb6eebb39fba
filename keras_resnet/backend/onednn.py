"""oneDNN, which TensorFlow and Torch use on processors."""

from __future__ import annotations

import platform
from collections.abc import Sequence

from ..host import amx

BLOCK = 16  # channels that oneDNN's AVX-512 kernels process at once
# Convolutions of bfloat16 whose kernels' gradients take oneDNN longer than a product of matrices, with AMX:
MANY_CHANNELS, FEW_PIXELS = 256, 64  # of the input, at least, and of an output image, at most


def is_x86() -> bool:
    """Returns whether the processor is of the kind that oneDNN is above all made for."""
    return platform.machine().lower() in ("x86_64", "amd64")


def has_gradient_bug(kernel: Sequence[int], strides: Sequence[int]) -> bool:
    """Returns whether oneDNN may compute a wrong gradient of a convolution, or write outside of its memory and crash.

    It may for a strided 1x1 convolution of few channels (https://github.com/uxlfoundation/oneDNN/issues/6035). The
    equivalent convolution without strides, of the positions that the strides select, is correct.

    Args:
        kernel: shape of the kernel: (rows, columns, channels, filters).
        strides: over rows and columns.
    """
    return max(strides) > 1 and tuple(kernel[:2]) == (1, 1) and kernel[2] < BLOCK


def has_slow_gradient(kernel: Sequence[int], pixels: int) -> bool:
    """Returns whether oneDNN takes longer for a kernel's gradient in bfloat16 than a product of matrices does.

    That product is of the pixels under the kernel, concatenated along the channels, and of the output's gradient; see
    `benchmarks/NOTES.md`.

    Args:
        kernel: shape of the kernel: (rows, columns, channels, filters).
        pixels: number of pixels of an output image.
    """
    return amx() and tuple(kernel[:2]) != (1, 1) and kernel[2] >= MANY_CHANNELS and 0 < pixels <= FEW_PIXELS
