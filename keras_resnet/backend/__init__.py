"""The one place that knows the backends apart. Importing it imports no backend."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import platform
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..extras import install
from ..host import cores, gpus
from .devices import Devices
from .selection import BACKENDS, environment, select_backend, silenced  # noqa: F401
from .traces import Span

if TYPE_CHECKING:
    import keras
    import numpy as np


def device(count: int | None = None) -> str:
    """The accelerators of this machine, in words, or its processor.

    Args:
        count: how many of them, in all processes; None for all of this machine.
    """
    if names := _engine().accelerators():
        return f"{count or len(names)} x {names[0]}"
    return f"CPU ({cores()} core{'s' * (cores() > 1)}, {platform.machine()})"


def unused_gpu_hint() -> str:
    """What would have the backend use this machine's GPUs, in a sentence; "" if it does, or if there are none."""
    import keras

    name = keras.backend.backend()
    if _engine().accelerators() or not shutil.which("nvidia-smi") or not gpus():
        return ""
    if name == "torch":
        return "A GPU is here which Torch cannot use, or is not to: torch.cuda.is_available() must be True."
    return f"A GPU is here which {name} cannot use, or is not to: {install(f'{name}-cuda')}"


def devices(count: int | None = None, spread: bool = False) -> Devices:
    """Where this process trains: on one device or many, alone or as one of the processes that a launcher has started.

    Args:
        count: devices of this process; None for every accelerator that it sees, and for one where it sees none.
        spread: whether each core of a processor is worth being a device, if `count` is None: where time is in
            convolutions of few channels, which a backend may compute on one core of a device.

    Raises:
        ValueError: fewer devices than that, or a launch that the backend cannot answer; the message names what can.
    """
    global _chief
    found = _engine().devices(count, spread)
    _chief = found.chief
    return found


def chief() -> bool:
    """Whether this process is the one of its run that writes and tells of progress and results; alone, it is."""
    return _chief


_chief = True


def gradient_shares() -> int:
    """The number of devices whose gradients the optimizer adds up after `apply`, each of them a share of the whole."""
    return _engine().gradient_shares()


def gradient(function: Callable[..., Any], variables: Sequence[Any]) -> Callable[..., list[np.ndarray]]:
    """A function that returns another's gradient.

    Args:
        function: from a list of arrays, and perhaps further arrays, to a scalar; written with `keras.ops` and with
            Keras layers as they are at inference.
        variables: Keras's that it reads. Their values may change from call to call.

    Returns:
        A function of the same arguments; returns the gradients with respect to the arrays of the list.
    """
    import keras

    compiled = _engine().gradient(function, variables)

    def run(leaves: Sequence[Any], *others: Any) -> list[np.ndarray]:
        tensors = [keras.ops.convert_to_tensor(leaf) for leaf in leaves]
        found = compiled(tensors, *(keras.ops.convert_to_tensor(other) for other in others))
        return [keras.ops.convert_to_numpy(leaf) for leaf in found]

    return run


def normal(seed: int, shape: Sequence[int], deviation: float) -> Any | None:
    """A draw of `keras.random.normal`, of mean 0, in float32; None where Keras's is as good."""
    return _engine().normal(seed, shape, deviation)


def batch_norm(layer: keras.layers.BatchNormalization, x: Any, axis: int, of_batch: bool) -> Any | None:
    """The output of a batch normalisation, in one kernel.

    Args:
        layer: the layer.
        x: its input.
        axis: the channels' axis, which may differ from the layer's.
        of_batch: whether the batch's statistics normalise, towards which the layer's moving averages then move, or the
            moving averages do.

    Returns:
        A tensor in the dtype of `x`; None, and nothing is done, where the backend has no such kernel for this.
    """
    return _engine().batch_norm(layer, x, axis, of_batch)


def convolution(layer: keras.layers.Conv2D, x: Any, kernel: Any) -> Any | None:
    """A layer's convolution of images with a kernel, without its bias; None where Keras's is as good."""
    return _engine().convolution(layer, x, kernel)


def max_pool(layer: keras.layers.MaxPooling2D, x: Any) -> Any | None:
    """A layer's output for images; None where Keras's is as good."""
    return _engine().max_pool(layer, x)


def relu(x: Any) -> Any | None:
    """The output of `keras.ops.relu`; None where that is as good."""
    return _engine().relu(x)


def add(x: Any, y: Any) -> Any | None:
    """The output of `keras.ops.add`; None where that is as good."""
    return _engine().add(x, y)


def set_kernel_layout(kernel: Any) -> None:
    """Lays out a convolution's kernel, a variable, in memory as `convolution` reads it."""
    _engine().set_kernel_layout(kernel)


def eager_layers() -> ModuleType | None:
    """The layers of a backend that computes each when it is called, for `keras_resnet.models.eager`; else None.

    The module has:
    - `CALLS`: by class of Keras layer, a function from the layer to its call, or to None if Keras has to compute it. A
      call takes the layer's inputs, `training`, and `owned`, which tells of each input whether it may be overwritten;
      it returns the layer's output, or None if Keras has to compute this one.
    - `together`: the context in which a model is called.
    - `whole`: converts an output of these calls to Keras's tensor.
    - `dtype`: converts Keras's name of a dtype to the backend's dtype.
    - `pads`, `pad_later`: for padding that is left to the layer behind it.
    - `watched`: of some layers, those with hooks, whose calls Keras has to make.
    """
    return _engine().eager_layers()


def start_trace(folder: Path) -> None:
    """Starts the backend's profiler, whose trace its own viewers read.

    Args:
        folder: where `stop_trace` writes it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _engine().start_trace(folder)


def stop_trace(folder: Path) -> tuple[list[Span], list[Span]]:
    """Stops the profiler that `start_trace` started, and writes the trace.

    Returns:
        In seconds, on one clock: when a step waited for its images, and when the device computed. Spans overlap.
    """
    return _engine().stop_trace(folder)


def mark_waiting(batches: Iterator[Any]) -> Iterator[Any]:
    """Yields batches; a trace shows the time in which each is waited for."""
    return _engine().mark_waiting(batches)


def viewer(folder: Path) -> str:
    """What opens the trace in a folder, in words."""
    return _engine().viewer(folder)


def match_layout(variable: Any, other: Any) -> None:
    """Lays out an optimizer's variable of zeros in memory like another variable of the same shape."""
    _engine().match_layout(variable, other)


def add_decay(gradients: Sequence[Any], variables: Sequence[Any], decay: float) -> Sequence[Any]:
    """Gradients plus `decay` times their variables. The gradients given are not to be used any more."""
    return _engine().add_decay(gradients, variables, decay)


def update_arguments(gradients: list[Any], variables: list[Any], rate: Any) -> tuple[list[Any], list[Any], Any]:
    """The arguments of Keras's update of all variables at once, so that no device is waited for."""
    return _engine().update_arguments(gradients, variables, rate)


def momentum_step(variable: Any, velocity: Any, gradient: Any, rate: Any, momentum: float, nesterov: bool) -> bool:
    """Updates a variable and its velocity as `keras.optimizers.SGD` does, in one kernel.

    Returns:
        Whether it did: False, and nothing is done, where the backend has no such kernel.
    """
    return _engine().momentum_step(variable, velocity, gradient, rate, momentum, nesterov)


def move_averages(averages: Sequence[Any], variables: Sequence[Any], momentum: Any) -> bool:
    """Moves an optimizer's averages of variables, average = momentum * average + (1 - momentum) * variable, at once.

    Args:
        averages: variables.
        variables: as many, in the same order.
        momentum: a scalar tensor in float32.

    Returns:
        Whether it did: False, and nothing is done, where Keras's way is as good.
    """
    return _engine().move_averages(averages, variables, momentum)


def multi_step_function(model: keras.Model, count: int) -> Callable[..., Any]:
    """A train function of several steps, where Keras's `train_function` takes one, with less between them.

    Args:
        model: compiled.
        count: how many, each on a batch of its own.
    """
    return _engine().multi_step_function(model, count)


def can_export_graphs() -> bool:
    """Whether a network can be written as a plain TensorFlow graph in this process."""
    return _engine().can_export_graphs()


def jit_compile() -> bool | str:
    """The `jit_compile` that `keras.Model.compile` is given."""
    return _engine().jit_compile()


@functools.cache
def _engine() -> ModuleType:
    """The module of this package that knows the backend that Keras runs on."""
    import keras

    return importlib.import_module(f".{keras.backend.backend()}", __name__)


def versions() -> dict[str, str]:
    """The versions that a result depends on."""
    import keras

    from ..version import __version__

    backend = keras.backend.backend()
    return {
        "keras_resnet": __version__,
        "keras": keras.__version__,
        backend: _engine().version(),
        "numpy": importlib.metadata.version("numpy"),
        "python": platform.python_version(),
    }
