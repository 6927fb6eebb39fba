"""Convolutions in the form that Torch computes fastest; see `keras_resnet.backend.convolution`."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from keras import layers
from torch.nn import functional

from .onednn import has_gradient_bug

# Convolutions that are matrix products on processors:
LARGE = 2**16  # weights of a 1x1 kernel, at least
WIDE, TINY = 512, 16  # for larger kernels, channels, at least, and pixels of an output image, at most

Pair = tuple[int, int]  # a value for rows and one for columns


def symmetric_padding(layer: layers.Conv2D) -> Pair | None:
    """Returns the numbers of rows and columns that a convolution pads on each side; None if it pads asymmetrically."""
    spans = zip(layer.kernel_size, layer.dilation_rate, strict=True)
    totals = [(size - 1) * rate if layer.padding == "same" else 0 for size, rate in spans]
    if any(total % 2 or (total and max(layer.strides) > 1) for total in totals):
        return None
    return totals[0] // 2, totals[1] // 2


def convolve(layer: layers.Conv2D, x: torch.Tensor, kernel: torch.Tensor, bias: Any, padding: Pair) -> torch.Tensor:
    """Convolves images as a layer does.

    Args:
        layer: the layer.
        x: images (batch, channels, rows, columns).
        kernel: (height, width, channels, filters), as in Keras.
        bias: (filters,), or None.
        padding: numbers of rows and of columns to pad on each side.

    Returns:
        The images (batch, filters, rows, columns).
    """
    strides = layer.strides
    if _is_faster_as_product(layer, x, kernel, padding):
        return _product(x, kernel, bias, strides, padding)
    if x.device.type == "cpu" and has_gradient_bug(kernel.shape, strides) and not any(padding):
        x, strides = x[:, :, :: strides[0], :: strides[1]], (1, 1)
    kernel = kernel.permute(3, 2, 0, 1)
    return functional.conv2d(x, kernel, bias, strides, padding, layer.dilation_rate, layer.groups)


def _is_faster_as_product(layer: layers.Conv2D, x: torch.Tensor, kernel: torch.Tensor, padding: Pair) -> bool:
    """Returns whether a processor computes a convolution, and above all its gradients, faster by `_product`.

    As measured, see `benchmarks/NOTES.md`. A graph that Torch makes of the network keeps the convolution.
    """
    if x.device.type != "cpu" or layer.groups > 1 or {*layer.dilation_rate} != {1}:
        return False
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return False
    if (*kernel.shape[:2],) == (1, 1):
        return kernel.numel() >= LARGE and not any(padding)
    rows, columns = _output_size(x, kernel, layer.strides, padding)
    return x.shape[1] >= WIDE and 0 < rows * columns <= TINY


def _product(x: torch.Tensor, kernel: torch.Tensor, bias: Any, strides: Pair, padding: Pair) -> torch.Tensor:
    """Convolves by one matrix product: of the pixels under the kernel, concatenated along the channels, and of it.

    Shapes are those of `convolve`.
    """
    (down, right), (above, beside) = strides, padding
    rows, columns = _output_size(x, kernel, strides, padding)
    x = x.permute(0, 2, 3, 1)
    if above or beside:
        x = functional.pad(x, (0, 0, beside, beside, above, above))
    extent = down * (rows - 1) + 1, right * (columns - 1) + 1
    offsets = itertools.product(*map(range, kernel.shape[:2]))
    pixels = [x[:, i : i + extent[0] : down, j : j + extent[1] : right] for i, j in offsets]
    x = pixels[0] if len(pixels) == 1 else torch.cat(pixels, -1)
    output = functional.linear(x.flatten(0, 2), kernel.permute(3, 0, 1, 2).flatten(1), bias)
    return output.unflatten(0, (len(x), rows, columns)).permute(0, 3, 1, 2)


def _output_size(x: torch.Tensor, kernel: torch.Tensor, strides: Pair, padding: Pair) -> Pair:
    """Returns the numbers of rows and columns that a convolution outputs."""
    rows, columns = (
        (side + 2 * zeros - length) // stride + 1
        for side, zeros, length, stride in zip(x.shape[2:], padding, kernel.shape[:2], strides, strict=True)
    )
    return rows, columns
