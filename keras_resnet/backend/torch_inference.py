"""Convolutions at inference on processors: each is one kernel of oneDNN with the batch norm, sum and ReLU after it.

Batch norm is folded into the weights, and these are laid out as oneDNN reads them, which Torch's own convolution does
at each call. Here both are done once, and again after a variable has changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from keras import layers
from keras.src.backend.common.stateless_scope import in_stateless_scope
from torch.autograd import forward_ad

from .onednn import is_x86
from .torch_batch_norm import value
from .torch_convolution import Pair, output_sides, symmetric_padding
from .torch_images import Call, Images, Value, dtype, is_linear, is_relu, to_images

ONEDNN = torch.ops.mkldnn
NEEDED = ("_reorder_convolution_weight", "_convolution_pointwise", "_convolution_pointwise_")
# Torch itself fuses layers by these kernels. They have not been measured on other processors than x86.
AVAILABLE = is_x86() and all(hasattr(ONEDNN, name) for name in NEEDED)
DTYPES = [torch.float32, *([torch.bfloat16] if AVAILABLE and ONEDNN._is_mkldnn_bf16_supported() else [])]

CONVOLUTION, NORM, SUM, RELU = range(4)  # the order of layers that one kernel computes


class Seen(NamedTuple):
    """What is known of the variables that folded weights are made of.

    Attributes:
        tensors: their tensors; held, so that no later tensor has the id of one of them.
        state: the number of changes, address and id of each tensor.
        samples: the number in the middle of each, as views.
        sampled: the values of the samples.
    """

    tensors: list[torch.Tensor]
    state: list[list[int]]
    samples: list[torch.Tensor]
    sampled: torch.Tensor


class FoldedWeights:
    """The weights of a model's convolutions with batch norm folded in, kept for as long as no variable changes.

    Several threads may call the model: each attribute is replaced as a whole.
    """

    def __init__(self) -> None:
        self.made: dict[Any, tuple[torch.Tensor, torch.Tensor | None]] = {}  # kernel and bias, by layers
        self._variables: list[Any] = []
        self._seen: Seen | None = None

    def depend_on(self, variables: Iterable[Any]) -> None:
        """Adds variables that the weights are made of."""
        self._variables.extend(variables)

    def forget(self) -> None:
        """Releases the weights."""
        self.made, self._seen = {}, None

    def update(self) -> bool:
        """Releases the weights if a variable has changed since the last call of this method.

        Torch counts the changes of a tensor, but not those by way of `Tensor.data` and of arrays that share its memory:
        these are noticed by a number in the middle of each tensor.

        Returns:
            Whether weights can be kept: changes of tensors that were made in inference mode are not counted.
        """
        tensors = [variable._value for variable in self._variables]
        if not tensors or any(map(torch.is_inference, tensors)):
            return False
        state = [
            [tensor._version for tensor in tensors],
            [tensor.data_ptr() for tensor in tensors],
            [*map(id, tensors)],
        ]
        seen = self._seen
        if seen is None or state != seen.state or not torch.equal(torch.cat(seen.samples), seen.sampled):
            samples = [tensor[tuple(side // 2 for side in tensor.shape)].reshape(1) for tensor in tensors]
            self.made, self._seen = {}, Seen(tensors, state, samples, torch.cat(samples))
        return True


def can_fuse(weights: FoldedWeights, training: Any, inputs: Iterable[torch.Tensor]) -> bool:
    """Returns whether a call of a model can use these kernels, whose weights are then up to date.

    Args:
        weights: the weights of the model.
        training: the argument of the call.
        inputs: the inputs of the call.
    """
    if training:
        weights.forget()
        return False
    return (
        AVAILABLE
        and torch._C._get_mkldnn_enabled()
        and not torch.is_grad_enabled()
        and all(tensor.is_cpu for tensor in inputs)
        and not _is_transformed()
        and weights.update()
    )


def _is_transformed() -> bool:
    """Returns whether more or other than the values of a call is computed, for which these kernels have no rules.

    Such as its graph, derivatives in forward mode, many calls at once, or how many operations it takes.
    """
    return (
        in_stateless_scope()
        or torch.jit.is_tracing()
        or torch.is_autocast_enabled("cpu")
        or forward_ad._current_level >= 0
        or torch._C._functorch.peek_interpreter_stack() is not None
        or torch._C._len_torch_dispatch_stack() > 0
    )


def may_follow(chain: Sequence[Any], layer: Any) -> bool:
    """Returns whether the kernel that computes a chain of layers can also compute the layer that follows them."""
    place, last = _place(layer), _place(chain[-1])
    if place is None or last is None or place <= last or layer.compute_dtype != chain[-1].compute_dtype:
        return False
    return place != NORM or layer.axis in ((-1, 3) if chain[0].data_format == "channels_last" else (1,))


def _place(layer: Any) -> int | None:
    if is_relu(layer):
        return RELU
    return {layers.Conv2D: CONVOLUTION, layers.BatchNormalization: NORM, layers.Add: SUM}.get(layer.__class__)


def fused(chain: Sequence[Any], weights: FoldedWeights) -> Call | None:
    """Returns the call of a convolution and the layers that follow it; None if there is no such kernel.

    The call is one of those that `keras_resnet.backend.eager_layers` says. It takes the images and, if there is a sum,
    its other summand.
    """
    convolution, places = chain[0], {_place(layer): layer for layer in chain}
    own_padding = symmetric_padding(convolution) if CONVOLUTION in places else None
    if own_padding is None or dtype(convolution.compute_dtype) not in DTYPES:
        return None
    norm, relu, last = places.get(NORM), places.get(RELU), convolution.data_format == "channels_last"
    weights.depend_on([*convolution.variables, *(norm.variables if norm else [])])
    strides, dilation, key = convolution.strides, convolution.dilation_rate, (convolution, norm)

    def arguments(x: Value) -> tuple[Any, ...] | None:
        images = to_images(x, last)
        unchanged = (
            not convolution.lora_enabled
            and is_linear(convolution)
            and (norm is None or norm.fused)
            and (relu is None or is_relu(relu))
        )
        if images is None or not images.tensor.numel() or not unchanged:
            return None
        padding = images.padding or own_padding
        made = weights.made  # by another thread's call, `weights` may get another
        if key not in made:
            made[key] = _fold(convolution, norm, images.tensor, padding)
        return images.tensor, *made[key], padding, strides, dilation, convolution.groups

    def alone(training: Any, overwritable: list[bool], x: Value) -> Images | None:
        taken = arguments(x)
        if taken is None:
            return None
        return Images(ONEDNN._convolution_pointwise(*taken, "relu" if relu else "none", [], ""), last)

    def in_sum(training: Any, overwritable: list[bool], x: Value, other: Value) -> Images | None:
        taken, summand = arguments(x), to_images(other, last)
        if taken is None or summand is None:
            return None
        tensor, padding = taken[0], taken[3]
        sides = output_sides(tensor, convolution.kernel_size, strides, padding, dilation)
        if summand.tensor.shape != (len(tensor), convolution.filters, *sides):
            return None  # the kernel would ignore that one summand is to be repeated
        after: tuple[Any, ...] = ("add", None, "relu" if relu else None, [], "")
        if overwritable[1]:
            return Images(ONEDNN._convolution_pointwise_.binary(summand.tensor, *taken, *after), last)
        return Images(ONEDNN._convolution_pointwise.binary(tensor, summand.tensor, *taken[1:], *after), last)

    return in_sum if SUM in places else alone


def _fold(
    convolution: layers.Conv2D, norm: layers.BatchNormalization | None, x: torch.Tensor, padding: Pair
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Returns the kernel of a convolution and its bias, with batch norm folded in.

    Args:
        convolution: the layer.
        norm: the batch norm that follows it, if any.
        x: images (batch, channels, rows, columns), for which oneDNN chooses the layout of the kernel.
        padding: numbers of rows and columns that are padded on each side.
    """
    kernel, bias = value(convolution.kernel).permute(3, 2, 0, 1), convolution.bias
    bias = None if bias is None else value(bias)
    if norm is not None:
        scale = value(norm.gamma) * torch.rsqrt(value(norm.moving_variance) + norm.epsilon)
        shift = -value(norm.moving_mean) if bias is None else bias - value(norm.moving_mean)
        kernel, bias = kernel * scale[:, None, None, None], value(norm.beta) + shift * scale
    kernel, bias = kernel.to(x.dtype), None if bias is None else bias.to(x.dtype)
    settings = padding, convolution.strides, convolution.dilation_rate, convolution.groups, x.shape
    return ONEDNN._reorder_convolution_weight(kernel.contiguous(memory_format=torch.channels_last), *settings), bias
