"""Convolutions in the form that Torch computes fastest; see `keras_resnet.backend.convolution`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from keras import layers
from torch.nn import functional

from . import onednn

# Convolutions that are matrix products on processors:
LARGE = 2**16  # weights of a 1x1 kernel, at least
WIDE, TINY = 512, 16  # for larger kernels, channels, at least, and pixels of an output image, at most

Pair = tuple[int, int]  # a value for rows and one for columns
Convolve = Callable[[torch.Tensor, torch.Tensor, Any, Pair | None], torch.Tensor]


def symmetric_padding(layer: layers.Conv2D) -> Pair | None:
    """Returns the numbers of rows and columns that a convolution pads on each side; None if it pads asymmetrically."""
    spans = zip(layer.kernel_size, layer.dilation_rate, strict=True)
    totals = [(size - 1) * rate if layer.padding == "same" else 0 for size, rate in spans]
    if any(total % 2 or (total and max(layer.strides) > 1) for total in totals):
        return None
    return totals[0] // 2, totals[1] // 2


def output_sides(
    x: torch.Tensor, window: Sequence[int], strides: Pair, padding: Pair, dilation: Pair = (1, 1)
) -> list[int]:
    """Returns the rows and columns of the output of a convolution of images (batch, channels, rows, columns)."""
    sizes = zip(x.shape[2:], window, strides, padding, dilation, strict=True)
    return [(side + 2 * zeros - rate * (length - 1) - 1) // stride + 1 for side, length, stride, zeros, rate in sizes]


def convolver(layer: layers.Conv2D) -> Convolve | None:
    """Returns the function that convolves as a layer does; None for layers that pad asymmetrically.

    The function takes images (batch, channels, rows, columns), the kernel (height, width, channels, filters), as in
    Keras, the bias (filters,) or None, and the numbers of rows and of columns to pad on each side, or None for those of
    the layer. It returns images (batch, filters, rows, columns).
    """
    own_padding = symmetric_padding(layer)
    if own_padding is None:
        return None
    strides, dilation, groups = tuple(layer.strides), tuple(layer.dilation_rate), layer.groups
    product, buggy = _product_of(layer), onednn.has_gradient_bug(layer.kernel.shape, strides)

    def convolve(x: torch.Tensor, kernel: torch.Tensor, bias: Any, padding: Pair | None) -> torch.Tensor:
        padding = own_padding if padding is None else padding
        if product is not None and x.is_cpu and not (torch.compiler.is_compiling() or torch.jit.is_tracing()):
            output = product(x, kernel, bias, strides, padding)
            if output is not None:
                return output
        kernel = kernel.permute(3, 2, 0, 1)
        if buggy and x.is_cpu and not any(padding):
            return functional.conv2d(x[:, :, :: strides[0], :: strides[1]], kernel, bias, 1, padding, dilation, groups)
        return functional.conv2d(x, kernel, bias, strides, padding, dilation, groups)

    return convolve


def _product_of(layer: layers.Conv2D) -> Callable[..., torch.Tensor | None] | None:
    """Returns the matrix product by which a processor may compute a convolution, and above all its gradients, faster.

    None if it computes none faster, as measured; see `benchmarks/NOTES.md`. A graph that Torch makes of the network
    keeps the convolution.
    """
    channels, filters = layer.kernel.shape[-2:]
    if layer.groups > 1 or {*layer.dilation_rate} != {1}:
        return None
    if tuple(layer.kernel_size) == (1, 1):
        return _product_of_pixels if channels * filters >= LARGE else None
    return _product_of_windows if channels >= min(WIDE, onednn.MANY_CHANNELS) else None


def _product_of_pixels(
    x: torch.Tensor, kernel: torch.Tensor, bias: Any, strides: Pair, padding: Pair
) -> torch.Tensor | None:
    """Convolves by a 1x1 kernel, as one matrix product of all pixels and it; None if pixels are to be padded.

    Shapes are those of `convolver`.
    """
    if any(padding):
        return None
    x = x.permute(0, 2, 3, 1)
    if strides != (1, 1):
        x = x[:, :: strides[0], :: strides[1]]
    (images, rows, columns, channels), filters = x.shape, kernel.shape[-1]
    output = functional.linear(x.reshape(-1, channels), kernel.view(channels, filters).t(), bias)
    return output.view(images, rows, columns, filters).permute(0, 3, 1, 2)


def _product_of_windows(
    x: torch.Tensor, kernel: torch.Tensor, bias: Any, strides: Pair, padding: Pair
) -> torch.Tensor | None:
    """Convolves by one matrix product of the pixels under the kernel and of it, or computes its gradient by one.

    Shapes are those of `convolver`. None for outputs of too many pixels.
    """
    rows, columns = output_sides(x, kernel.shape[:2], strides, padding)
    if kernel.shape[2] >= WIDE and 0 < rows * columns <= TINY:
        windows = _windows(x, kernel.shape[:2], (rows, columns), strides, padding)
        output = functional.linear(windows, kernel.permute(3, 0, 1, 2).flatten(1), bias)
        return output.unflatten(0, (len(x), rows, columns)).permute(0, 3, 1, 2)
    if x.dtype is torch.bfloat16 and bias is None and onednn.has_slow_gradient(kernel.shape, rows * columns):
        return ConvolutionWithProduct.apply(x, kernel.permute(3, 2, 0, 1), strides, padding)
    return None


def _windows(
    x: torch.Tensor, window: Sequence[int], sides: Sequence[int], strides: Pair, padding: Pair
) -> torch.Tensor:
    """Returns the pixels under a kernel, concatenated along the channels, as a row for each pixel of the output.

    Args:
        x: images (batch, channels, rows, columns).
        window: rows and columns of the kernel.
        sides: rows and columns of the output.
        strides: over rows and over columns.
        padding: numbers of rows and of columns to pad on each side.
    """
    (down, right), (above, beside) = strides, padding
    x = x.permute(0, 2, 3, 1)
    if above or beside:
        x = functional.pad(x, (0, 0, beside, beside, above, above))
    extent = down * (sides[0] - 1) + 1, right * (sides[1] - 1) + 1
    offsets = itertools.product(*map(range, window))
    return torch.cat([x[:, i : i + extent[0] : down, j : j + extent[1] : right] for i, j in offsets], -1).flatten(0, 2)


class ConvolutionWithProduct(torch.autograd.Function):
    """A convolution, of which the gradient of the kernel is a product of matrices.

    It takes images (batch, channels, rows, columns), the kernel (filters, channels, height, width), strides, padding.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: torch.Tensor, kernel: torch.Tensor, strides: Pair, padding: Pair) -> torch.Tensor:
        return functional.conv2d(x, kernel, None, strides, padding)

    @staticmethod
    def setup_context(context: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        x, kernel, context.strides, context.padding = inputs
        context.save_for_backward(x, kernel)
        context.save_for_forward(x, kernel)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (x, kernel), (strides, padding) = context.saved_tensors, (context.strides, context.padding)
        x_gradient = kernel_gradient = None
        if context.needs_input_grad[0]:
            rest = None, strides, padding, (1, 1), False, (0, 0), 1, (True, False, False)
            x_gradient = torch.ops.aten.convolution_backward(gradient, x, kernel, *rest)[0]
        if context.needs_input_grad[1]:
            filters, channels, *window = kernel.shape
            windows = _windows(x, window, gradient.shape[2:], strides, padding)
            product = gradient.permute(0, 2, 3, 1).reshape(-1, filters).t() @ windows
            kernel_gradient = product.view(filters, *window, channels).permute(0, 3, 1, 2)
        return x_gradient, kernel_gradient, None, None

    @staticmethod
    def jvp(context: Any, x_tangent: torch.Tensor, kernel_tangent: torch.Tensor, *_: None) -> torch.Tensor:
        x, kernel = context.saved_tensors
        along_x = functional.conv2d(x_tangent, kernel, None, context.strides, context.padding)
        return along_x + functional.conv2d(x, kernel_tangent, None, context.strides, context.padding)
