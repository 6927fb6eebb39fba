"""The Torch backend, which runs layers eagerly; see `keras_resnet.backend`."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import torch

from . import torch_batch_norm, torch_convolution, torch_layers, traces
from .engine_defaults import (  # noqa: F401
    add,
    can_export_graphs,
    gradient_shares,
    max_pool,
    momentum_step,
    normal,
    relu,
)
from .selection import silenced
from .torch_devices import accelerators, devices  # noqa: F401
from .traces import WAITING, Span

TRACE = "trace.json"
CUDA = torch.autograd.DeviceType.CUDA
FED = "Memcpy HtoD"  # prefix in a trace of copies of images to a GPU, which do not count as computing


def version() -> str:
    """Returns Torch's version."""
    return importlib.metadata.version("torch")


def jit_compile() -> bool | str:
    """Returns "auto": Keras then does not compile on Torch."""
    return "auto"


def gradient(function: Callable[..., Any], _: Sequence[Any]) -> Callable[..., list[Any]]:
    """See `keras_resnet.backend.gradient`."""

    def run(arrays: list[Any], *others: Any) -> list[Any]:
        arrays = [array.detach().requires_grad_() for array in arrays]
        with torch.enable_grad():
            return list(torch.autograd.grad(function(arrays, *others), arrays, materialize_grads=True))

    return run


def batch_norm(layer: keras.layers.BatchNormalization, x: Any, axis: int, use_batch_statistics: bool) -> torch.Tensor:
    """See `keras_resnet.backend.batch_norm`."""
    if axis != 1:
        x = x.movedim(axis, 1)  # does not copy: the outputs of convolutions are in Torch's "channels_last" layout
    normalised = torch_batch_norm.normaliser(layer)(x, use_batch_statistics)
    return normalised if axis == 1 else normalised.movedim(1, axis)


def convolution(layer: keras.layers.Conv2D, x: Any, kernel: Any) -> torch.Tensor | None:
    """See `keras_resnet.backend.convolution`. Keras's own copies the images twice, and the kernel, at every call."""
    convolve = torch_convolution.convolver(layer)
    if convolve is None:
        return None
    last = layer.data_format == "channels_last"
    x, kernel = keras.ops.convert_to_tensor(x), keras.ops.convert_to_tensor(kernel)
    x = x.permute(0, 3, 1, 2) if last else x
    output = convolve(x, kernel, None, None)
    return output.permute(0, 2, 3, 1) if last else output


def move_averages(averages: Sequence[Any], variables: Sequence[Any], momentum: Any) -> bool:
    """See `keras_resnet.backend.move_averages`. Keras's own reads the value of the momentum for every variable."""
    tensors = [average.value for average in averages]
    with torch.no_grad():
        torch._foreach_mul_(tensors, momentum)
        torch._foreach_add_(tensors, torch._foreach_mul([variable.value for variable in variables], 1 - momentum))
    return True


def multi_step_function(model: keras.Model, _: int) -> Callable[..., Any]:
    """See `keras_resnet.backend.multi_step_function`. Nothing waits for the device between steps."""

    def steps(batches: list[Any]) -> Any:
        for batch in batches:
            logs = model.train_step(batch)
        return logs

    return steps


def set_kernel_layout(kernel: Any) -> None:
    """See `keras_resnet.backend.set_kernel_layout`. The layout is Torch's "channels_last".

    That is, from the outermost: output channels, rows, columns, input channels. A clone has the strides of that layout
    also where an axis has length 1, which `contiguous` leaves as they are; Torch's slow convolution needs them.
    """
    tensor = kernel.value
    tensor.data = tensor.data.permute(3, 0, 1, 2).clone(memory_format=torch.contiguous_format).permute(1, 2, 3, 0)


def eager_layers() -> ModuleType:
    """See `keras_resnet.backend.eager_layers`."""
    return torch_layers


def start_trace(_: Path) -> None:
    """See `keras_resnet.backend.start_trace`. Waits for earlier steps, so that they are not in the trace."""
    global _trace
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    with silenced():
        _trace = torch.profiler.profile()
        _trace.start()


def stop_trace(folder: Path) -> tuple[list[Span], list[Span]]:
    """See `keras_resnet.backend.stop_trace`."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    with silenced():
        _trace.stop()
        _trace.export_chrome_trace(str(folder / TRACE))
    events = [(event, (event.time_range.start / 1e6, event.time_range.end / 1e6)) for event in _trace.events()]
    on_cuda = [span for event, span in events if event.device_type == CUDA and not event.name.startswith(FED)]
    on_cpu = [span for event, span in events if event.name.startswith("aten::")]
    return [span for event, span in events if event.name == WAITING], on_cuda or on_cpu


_trace: Any = None


def mark_waiting(batches: Iterator[Any]) -> Iterator[Any]:
    """See `keras_resnet.backend.mark_waiting`."""
    return traces.marked(batches, lambda: torch.profiler.record_function(WAITING))


def viewer(folder: Path) -> str:
    """See `keras_resnet.backend.viewer`."""
    return f"{folder / TRACE} in ui.perfetto.dev"


def match_layout(variable: Any, other: Any) -> None:
    """See `keras_resnet.backend.match_layout`. Torch's elementwise operations are fastest on equal layouts."""
    variable.value.data = torch.zeros_like(other.value.data, dtype=variable.value.dtype)


def add_decay(gradients: Sequence[Any], variables: Sequence[Any], decay: float) -> Sequence[Any]:
    """See `keras_resnet.backend.add_decay`. Overwrites the gradients."""
    with torch.no_grad():
        torch._foreach_add_(list(gradients), [variable.value for variable in variables], alpha=decay)
    return gradients


def update_arguments(gradients: list[Any], variables: list[Any], rate: Any) -> tuple[list[Any], list[Any], Any]:
    """See `keras_resnet.backend.update_arguments`. Keras reads the value of the rate, which waits for the GPU.

    So the gradients are multiplied by the rate beforehand, and the rate is 1.
    """
    rate = keras.ops.convert_to_tensor(rate)
    if _on_cpu(rate):
        return gradients, variables, rate
    return list(torch._foreach_mul(gradients, rate)), variables, 1.0


def _on_cpu(tensor: torch.Tensor) -> bool:
    """Returns whether the value of a tensor can be read without waiting for a device."""
    return tensor.device.type == "cpu"
